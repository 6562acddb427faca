// SPDX-License-Identifier: Apache-2.0
import Glibc
import TestSupport
import Testing

@testable import HostSystem

private let refusal: String? = {
  if let refusal = CPUGroup.refusal { print("SKIPPED: throttling by real control groups: \(refusal)") }
  return CPUGroup.refusal
}()

/// The quota of a real control group (version 1).
@Suite(.serialized, .enabled(if: refusal == nil, "\(refusal ?? "")"))
struct GroupThrottleTests {
  private let folder = TemporaryDirectory()
  private var ledger: ThrottleLedger { ThrottleLedger(folder: folder.path, files: HostFiles()) }

  private func throttle(_ pid: Int32, _ method: ProcessThrottle.Method = .automatic) throws -> ProcessThrottle {
    try ProcessThrottle(pid: pid, method: method, guardian: .none, ledger: ledger, files: HostFiles())
  }

  @Test(
    "50 % is half of what the process used, and the release restores the exact quota",
    arguments: [
      (-1, 100_000), (150_000, 100_000), (270_000, 90_000),
    ])
  func half(time: Int, period: Int) throws {
    let group = try CPUGroup()
    let guest = try BusyProcess()
    defer {
      guest.end()
      group.remove()
    }
    try group.add(guest.pid)
    try group.setQuota(time: time, period: period)
    let throttle = try throttle(guest.pid)
    #expect(throttle.method == .cgroup && throttle.notes.isEmpty, "\(throttle.notes)")
    let before = guest.use(over: 0.5)
    try throttle.set(percent: 50)
    #expect(try group.quota() != "\(time) \(period)")
    // What was saved up before is used first.
    HostClock.sleep(nanoseconds: 200_000_000)
    let use = guest.use(over: 0.7)
    let highest = try #require(throttle.unthrottledUse)
    #expect((0.3...0.65).contains(use / max(highest, before)), "\(use) of \(before), at most \(highest)")
    let measured = try #require(throttle.measuredPercent)
    #expect((35...65).contains(measured), "\(measured)")
    #expect(throttle.release() == nil)
    #expect(try group.quota() == "\(time) \(period)")
  }

  @Test("Steps up and down, a longer period at 99 %, and 0 % is the quota that was")
  func steps() throws {
    let group = try CPUGroup()
    // Idle: what it used is nothing, and then it gets a tenth of a CPU's share.
    let guest = try BusyProcess("exec sleep 60")
    defer {
      guest.end()
      group.remove()
    }
    try group.add(guest.pid)
    try group.setQuota(time: 80_000, period: 50_000)
    let throttle = try throttle(guest.pid, .cgroup)
    for (percent, quota) in [(50, "2500 50000"), (99, "1000 1000000"), (20, "4000 50000"), (0, "80000 50000")] {
      try throttle.set(percent: percent)
      #expect(try group.quota() == quota, "\(percent) %")
    }
    try throttle.set(percent: 99)
    throttle.release()
    #expect(try group.quota() == "80000 50000")
    #expect(HostFiles().names(folder.path).isEmpty)
  }

  @Test("A group that holds another process is refused by name; so is one that it is not alone in below")
  func shared() throws {
    let group = try CPUGroup()
    let (guest, other) = (try BusyProcess("exec sleep 60"), try BusyProcess("exec sleep 60"))
    defer {
      guest.end()
      other.end()
      group.remove()
    }
    try group.add(guest.pid)
    try group.add(other.pid)
    #expect(throws: ThrottleError.controlGroupShared(group: group.path, with: other.pid)) {
      try throttle(guest.pid, .cgroup)
    }
    #expect(try throttle(guest.pid).method == .signals)
  }

  @Test("A quota that somebody else sets meanwhile stays")
  func overruled() throws {
    let group = try CPUGroup()
    let guest = try BusyProcess("exec sleep 60")
    defer {
      guest.end()
      group.remove()
    }
    try group.add(guest.pid)
    let throttle = try throttle(guest.pid, .cgroup)
    try throttle.set(percent: 50)
    try group.setQuota(time: 33_000, period: 100_000)
    #expect(throttle.release() == nil)
    #expect(try group.quota() == "33000 100000")
  }

  @Test("A quota that a killed owner left is restored by the next")
  func abandoned() throws {
    let group = try CPUGroup()
    let guest = try BusyProcess("exec sleep 60")
    defer {
      guest.end()
      group.remove()
    }
    try group.add(guest.pid)
    try group.setQuota(time: 5000, period: 100_000)
    let brake = ThrottleRecord.Brake.quota(
      group: QuotaGroup(version: .v1, folder: group.path), original: CPUQuota(time: nil, period: 100_000),
      written: [CPUQuota(time: 5000, period: 100_000)])
    let identity = try #require(ProcessIdentity(of: guest.pid, HostFiles()))
    _ = try ledger.claim(
      ThrottleRecord(
        boot: ThrottleRecord.boot(HostFiles()), owner: .init(pid: getpid(), startTime: 1), process: identity,
        brake: brake))
    #expect(ledger.releaseAbandoned().count == 1)
    #expect(try group.quota() == "-1 100000")
  }
}

/// Version 2, on a host whose files these tests wrote: no kernel acts on them.
@Suite struct UnifiedGroupThrottleTests {
  @Test("cpu.max is written for what the process used, and restored")
  func maximum() throws {
    let guest = try BusyProcess()
    defer { guest.end() }
    let real = HostFiles()
    let group = "/sys/fs/cgroup/machine/guest"
    let host = try RecordedHost(files: [
      "/proc/\(guest.pid)/stat": real.text("/proc/\(guest.pid)/stat") ?? "",
      "/proc/self/stat": real.text("/proc/self/stat") ?? "",
      "/proc/\(guest.pid)/task/\(guest.pid)/cgroup": "0::/machine/guest",
      "\(group)/cgroup.threads": "\(guest.pid)", "\(group)/cgroup.procs": "\(guest.pid)",
      "\(group)/cpu.max": "max 100000",
    ])
    let files = HostFiles(root: host.root)
    let throttle = try ProcessThrottle(
      pid: guest.pid, method: .cgroup, guardian: .none, ledger: nil, files: files)
    try throttle.set(percent: 75)
    let words = try #require(files.text("\(group)/cpu.max")).split(separator: " ")
    let use = try #require(throttle.unthrottledUse)
    #expect(words.count == 2 && words[1] == "100000")
    #expect(abs((Double(words[0]) ?? 0) - max(use, 0.1) * 25_000) <= 1, "\(words) of \(use)")
    try throttle.set(percent: 0)
    #expect(files.text("\(group)/cpu.max") == "max 100000")
    try throttle.set(percent: 40)
    throttle.release()
    #expect(files.text("\(group)/cpu.max") == "max 100000")
  }
}
