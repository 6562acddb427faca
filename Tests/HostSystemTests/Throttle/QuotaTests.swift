// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

@testable import HostSystem

@Suite struct QuotaTests {
  static let free = CPUQuota(time: nil, period: 100_000)

  @Test("A limit keeps the period, within what there was, and takes a longer one below 1 ms")
  func limits() {
    #expect(CPUQuota.limit(0.5, within: Self.free) == CPUQuota(time: 50_000, period: 100_000))
    #expect(CPUQuota.limit(2.25, within: Self.free) == CPUQuota(time: 225_000, period: 100_000))
    #expect(CPUQuota.limit(0.01, within: Self.free) == CPUQuota(time: 1000, period: 100_000))
    #expect(CPUQuota.limit(0.004, within: Self.free) == CPUQuota(time: 1000, period: 250_000))
    #expect(CPUQuota.limit(0, within: Self.free) == CPUQuota(time: 1000, period: 1_000_000))
    let narrow = CPUQuota(time: 10_000, period: 50_000)
    #expect(CPUQuota.limit(3, within: narrow) == narrow)
    #expect(CPUQuota.limit(0.1, within: narrow) == CPUQuota(time: 5000, period: 50_000))
  }

  private func record(_ brake: ThrottleRecord.Brake) -> ThrottleRecord {
    ThrottleRecord(
      boot: "6b2f-1", owner: .init(pid: 12, startTime: 34), process: .init(pid: 56, startTime: 78), brake: brake)
  }

  @Test("Records come back from their text as they were")
  func text() {
    let group = QuotaGroup(version: .v2, folder: "/sys/fs/cgroup/machine.slice/my guest")
    let half = CPUQuota(time: 50_000, period: 100_000)
    for brake: ThrottleRecord.Brake in [
      .none, .signals, .quota(group: group, original: Self.free, written: [half]),
      .quota(group: group, original: half, written: [half, CPUQuota(time: 1000, period: 250_000)]),
    ] { #expect(ThrottleRecord(text: record(brake).text) == record(brake)) }
  }

  @Test(
    "What is not a record is not one",
    arguments: [
      "", "pageferry throttle 2\nboot a\nowner 1 2\nprocess 3 4\nnone\n",
      "pageferry throttle 1\nboot a\nowner 1 2\nprocess 3 4\n",
      "pageferry throttle 1\nboot a\nowner -1 2\nprocess 3 4\nnone\n",
      "pageferry throttle 1\nboot a\nowner 1 2\nprocess 3 4\nsignals\n-1 5\n",
      "pageferry throttle 1\nboot a\nowner 1 2\nprocess 3 4\nquota v1 /etc\n-1 100000\n",
      "pageferry throttle 1\nboot a\nowner 1 2\nprocess 3 4\nquota v1 /sys/fs/cgroup/../../etc\n-1 100000\n",
      "pageferry throttle 1\nboot a\nowner 1 2\nprocess 3 4\nquota v3 /sys/fs/cgroup/cpu/a\n-1 100000\n",
      "pageferry throttle 1\nboot a\nowner 1 2\nprocess 3 4\nquota v1 /sys/fs/cgroup/cpu/a\n",
      "pageferry throttle 1\nboot a\nowner 1 2\nprocess 3 4\nquota v1 /sys/fs/cgroup/cpu/a\n-2 1000\n",
      "pageferry throttle 1\nboot a\nowner 1 2\nprocess 3 4\nquota v1 /sys/fs/cgroup/cpu/a\n5 0\n",
      "pageferry throttle 1\nboot a\nowner 1 2\nprocess 3 4\nquota v1 /sys/fs/cgroup/cpu/a\n1 1\n1 1\n1 1\n1 1\n",
    ])
  func nonsense(text: String) { #expect(ThrottleRecord(text: text) == nil) }

  /// A group of version 2 with this quota, and what undoing a record of it leaves.
  private func undo(_ now: String, original: CPUQuota, written: [CPUQuota]) throws -> String {
    let host = try RecordedHost(files: ["/sys/fs/cgroup/g/cpu.max": now])
    let files = HostFiles(root: host.root)
    let group = QuotaGroup(version: .v2, folder: "/sys/fs/cgroup/g")
    try record(.quota(group: group, original: original, written: written)).undo(files)
    return files.text("/sys/fs/cgroup/g/cpu.max") ?? ""
  }

  @Test("A quota is restored if it is ours, and left alone if somebody else has set another")
  func undoing() throws {
    let half = CPUQuota(time: 50_000, period: 100_000)
    let tenth = CPUQuota(time: 10_000, period: 100_000)
    #expect(try undo("50000 100000", original: Self.free, written: [half]) == "max 100000")
    // Killed between noting the next one and writing it.
    #expect(try undo("50000 100000", original: Self.free, written: [half, tenth]) == "max 100000")
    #expect(try undo("30000 100000", original: Self.free, written: [half, tenth]) == "30000 100000")
    #expect(try undo("max 100000", original: Self.free, written: [half]) == "max 100000")
  }

  @Test("A group that went with its guest is nothing to be restored")
  func groupGone() throws {
    let group = QuotaGroup(version: .v1, folder: "/sys/fs/cgroup/cpu/pageferry-test-nowhere")
    try record(.quota(group: group, original: Self.free, written: [])).undo(HostFiles())
  }
}
