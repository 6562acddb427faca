// SPDX-License-Identifier: Apache-2.0
import Glibc
import TestSupport
import Testing

@testable import HostSystem

/// Real processes, one after the other: they measure CPU time.
@Suite(.serialized) struct ProcessThrottleTests {
  /// Where the records are kept.
  private let folder = TemporaryDirectory()
  private var ledger: ThrottleLedger { ThrottleLedger(folder: folder.path, files: HostFiles()) }

  private func throttle(_ pid: Int32, _ method: ProcessThrottle.Method) throws -> ProcessThrottle {
    try ProcessThrottle(pid: pid, method: method, guardian: .none, ledger: ledger, files: HostFiles())
  }

  private var records: [String] { HostFiles().names(folder.path) }

  @Test("By signals, 50 % is half of the time, and the release gives it all back")
  func half() throws {
    let guest = try BusyProcess()
    let before = guest.use(over: 0.3)
    let throttle = try throttle(guest.pid, .signals)
    try throttle.set(percent: 50)
    #expect(records == ["throttle-\(guest.pid)-\(ProcessIdentity(of: guest.pid, HostFiles())?.startTime ?? 0)"])
    let use = guest.use(over: 0.6)
    let stopped = guest.stoppedShare(over: 0.6)
    let measured = throttle.measuredPercent ?? -1
    // A half of one CPU holds however busy this host is; what it had before is less than one where others compete for it.
    #expect(use < 0.62, "\(use) of \(before)")
    #expect(use > before * 0.3, "\(use) of \(before)")
    #expect((40...60).contains(measured), "\(measured)")
    // Few looks, where others use the CPUs.
    #expect((0.15...0.85).contains(stopped), "\(stopped)")
    #expect(throttle.release() == nil)
    #expect(guest.stoppedShare(over: 0.2) == 0)
    #expect(records.isEmpty)
  }

  @Test("By signals, 99 % leaves a hundredth, a change holds at once, and the end of the object releases")
  func almostAll() throws {
    let guest = try BusyProcess()
    do {
      let throttle = try throttle(guest.pid, .signals)
      try throttle.set(percent: 99)
      let use = guest.use(over: 0.5)
      #expect(use < 0.08, "\(use)")
      try throttle.set(percent: 0)
      #expect(guest.wait(stopped: false, limit: 0.05) != nil)
      #expect(guest.stoppedShare(over: 0.1) == 0)
      try throttle.set(percent: 99)
      #expect(guest.wait(stopped: true, limit: 0.2) != nil)
    }
    #expect(guest.stoppedShare(over: 0.2) == 0)
  }

  @Test("A process that somebody else has stopped stays stopped")
  func stoppedByOthers() throws {
    let guest = try BusyProcess()
    kill(guest.pid, SIGSTOP)
    #expect(guest.wait(stopped: true, limit: 1) != nil)
    let throttle = try throttle(guest.pid, .signals)
    try throttle.set(percent: 50)
    #expect(guest.stoppedShare(over: 0.3) == 1)
    #expect(throttle.release() == nil)
    #expect(guest.stoppedShare(over: 0.1) == 1)
  }

  @Test("A process that ends is said to be gone, and nothing is left", arguments: [0, 80])
  func ends(percent: Int) throws {
    let guest = try BusyProcess()
    let throttle = try throttle(guest.pid, .signals)
    try throttle.set(percent: percent)
    guest.end()
    #expect(throttle.hasEnded)
    #expect(throws: ThrottleError.processGone(pid: guest.pid)) { try throttle.set(percent: 10) }
    #expect(throttle.release() == nil && throttle.release() == nil)
    #expect(throws: ThrottleError.released) { try throttle.set(percent: 10) }
    #expect(records.isEmpty)
  }

  @Test("Numbers that are not another process's are refused")
  func numbers() throws {
    for pid in [-1, 0, 1, getpid()] as [Int32] {
      #expect(throws: ThrottleError.notAProcess(pid: pid)) { try throttle(pid, .signals) }
    }
    let guest = try BusyProcess()
    guest.end()
    #expect(throws: ThrottleError.processGone(pid: guest.pid)) { try throttle(guest.pid, .automatic) }
    #expect(records.isEmpty)
  }

  @Test("Two cannot throttle the same process; when the first has ended, the second can")
  func twice() throws {
    let guest = try BusyProcess()
    let first = try throttle(guest.pid, .signals)
    #expect(throws: ThrottleError.alreadyThrottled(pid: guest.pid, by: getpid())) { try throttle(guest.pid, .signals) }
    first.release()
    let second = try throttle(guest.pid, .signals)
    #expect(second.notes.isEmpty)
  }

  @Test(
    "A guardian that cannot be started, or does not answer, is an error at once, and nothing is throttled",
    arguments: [
      "/nonexistent", "/bin/true",
    ])
  func noGuardian(path: String) throws {
    let guest = try BusyProcess()
    #expect(throws: ThrottleError.self) {
      try ProcessThrottle(
        pid: guest.pid, method: .signals, guardian: .program(path: path, arguments: []), ledger: ledger,
        files: HostFiles())
    }
    #expect(records.isEmpty)
  }

  @Test("In the control group of all, automatic falls back on signals, and says why")
  func fallsBack() throws {
    let guest = try BusyProcess()
    // Whatever group that is, these tests are in it as well.
    let throttle = try throttle(guest.pid, .automatic)
    #expect(throttle.method == .signals)
    #expect(throttle.notes.count == 1 && throttle.notes[0].hasPrefix("throttling by signals: "), "\(throttle.notes)")
    #expect(throws: ThrottleError.self) { try ProcessThrottle(pid: guest.pid, method: .cgroup) }
  }
}

/// What is left of a throttle whose process, and guardian, were killed.
@Suite(.serialized) struct AbandonedThrottleTests {
  private let folder = TemporaryDirectory()
  private var ledger: ThrottleLedger { ThrottleLedger(folder: folder.path, files: HostFiles()) }
  /// Nobody: this number's process did not start when the host did.
  private let nobody = ProcessIdentity(pid: getpid(), startTime: 1)

  private func leave(_ brake: ThrottleRecord.Brake, of guest: BusyProcess, owner: ProcessIdentity, boot: String? = nil)
    throws
  {
    let identity = try #require(ProcessIdentity(of: guest.pid, HostFiles()))
    let failure = try ledger.claim(
      ThrottleRecord(
        boot: boot ?? ThrottleRecord.boot(HostFiles()), owner: owner, process: identity, brake: brake))
    #expect(failure == nil)
  }

  private func stopped() throws -> BusyProcess {
    let guest = try BusyProcess()
    kill(guest.pid, SIGSTOP)
    #expect(guest.wait(stopped: true, limit: 1) != nil)
    return guest
  }

  @Test("A process that was left stopped runs on, and that is said; once")
  func left() throws {
    let guest = try stopped()
    try leave(.signals, of: guest, owner: nobody)
    let told = ledger.releaseAbandoned()
    #expect(told.count == 1 && told[0].contains("process \(guest.pid)") && told[0].hasSuffix("is released"), "\(told)")
    #expect(guest.wait(stopped: false, limit: 0.2) != nil)
    #expect(ledger.releaseAbandoned().isEmpty)
  }

  @Test("The next throttle releases it first")
  func next() throws {
    let (guest, other) = (try stopped(), try BusyProcess())
    try leave(.signals, of: guest, owner: nobody)
    let throttle = try ProcessThrottle(
      pid: other.pid, method: .signals, guardian: .none, ledger: ledger, files: HostFiles())
    #expect(throttle.notes.count == 1)
    #expect(guest.wait(stopped: false, limit: 0.2) != nil)
  }

  @Test("Of an owner that lives, nothing is touched; of another boot, only the record goes")
  func others() throws {
    let (first, second) = (try stopped(), try stopped())
    try leave(.signals, of: first, owner: try #require(ProcessIdentity.own(HostFiles())))
    try leave(.signals, of: second, owner: nobody, boot: "another")
    #expect(ledger.releaseAbandoned().isEmpty)
    #expect(HostFiles().names(folder.path).count == 1)
    #expect(first.isStopped && second.isStopped)
  }

  @Test("A directory that others can write is not believed")
  func untrusted() throws {
    let guest = try stopped()
    try leave(.signals, of: guest, owner: nobody)
    _ = unsafe chmod(folder.path, 0o777)
    #expect(ledger.releaseAbandoned().isEmpty)
    #expect(guest.isStopped)
  }
}
