// SPDX-License-Identifier: Apache-2.0
import Synchronization
import SystemPackage

/// Slows down another process, a VMM with its guest, and gives it back its full speed when this ends, however it ends.
///
/// By the CPU quota of the process's control group, if it has one of its own; else by stopping and continuing it in turns.
/// The process is held by a pidfd, so nothing is ever done to another one that gets its number.
///
/// What undoes it: ``release()``, which the end of this object calls; and if this program is killed, its ``ThrottleGuardian``.
/// If that is killed as well, or there is none: the next throttle that is made on this host, or ``releaseAbandoned()``.
///
/// Calls may come from any thread, one after the other.
public final class ProcessThrottle: Sendable {
  /// How a process is slowed down.
  public enum Method: String, Sendable, CaseIterable {
    /// `cgroup` if the process has a control group of its own whose quota we may write, else `signals`.
    case automatic
    /// The CPU quota of its control group: `cpu.max`, or `cpu.cfs_quota_us` with version 1. The kernel does it, smoothly on
    /// many CPUs; threads of the process that have not used their share are not stopped.
    case cgroup
    /// SIGSTOP and SIGCONT in turns of 20 ms (up to 100 ms above 95 %). Needs no control group. The process's parent hears of
    /// each (SIGCHLD) unless it has asked not to (SA_NOCLDSTOP). Its children are not throttled.
    case signals
  }

  /// What is throttled.
  public let pid: Int32
  /// `cgroup` or `signals`.
  public let method: Method
  /// Sentences for whoever reads the log: why the control group is not used, what is not guarded, what was found abandoned.
  public let notes: [String]

  private let process: ProcessHandle
  private let worker: ThrottleWorker
  private let group: QuotaGroup?
  private let ledger: ThrottleLedger?
  private let guardian: ThrottleGuardian
  private let files: HostFiles
  private let state: Mutex<State>

  private struct State {
    var percent = 0
    /// CPUs that the process used before it was throttled.
    var unthrottledUse: Double?
    var record: ThrottleRecord
    var link: GuardianLink?
    var isReleased = false
  }

  /// Takes hold of a process. It runs as before until ``set(percent:)``, and its use of CPUs is measured meanwhile.
  ///
  /// What others left throttled on this host, because they were killed, is released first.
  /// - Parameters:
  ///   - pid: of the process, not of one of its threads; as this process sees it.
  ///   - guardian: who releases it if this program is killed; started now.
  /// - Throws: the process is gone, is throttled already, may not be signalled; with `cgroup`, why a quota cannot be used.
  public convenience init(
    pid: Int32, method: Method = .automatic, guardian: ThrottleGuardian = .none
  ) throws(ThrottleError) {
    try self.init(pid: pid, method: method, guardian: guardian, ledger: .standard, files: HostFiles())
  }

  /// - Parameters:
  ///   - ledger: where the record is kept; the guardian knows only the standard one.
  ///   - files: the kernel's files.
  init(
    pid: Int32, method: Method, guardian: ThrottleGuardian, ledger: ThrottleLedger?, files: HostFiles
  ) throws(ThrottleError) {
    var notes = ledger?.releaseAbandoned() ?? []
    let process = try ProcessHandle(pid, files)
    guard let owner = ProcessIdentity.own(files) else { throw .notSupported(.noSuchFileOrDirectory) }
    let group = method == .signals ? nil : try Self.group(of: process, isDemanded: method == .cgroup, files, &notes)
    let record = ThrottleRecord(
      boot: ThrottleRecord.boot(files), owner: owner, process: process.identity, brake: .none)
    if let ledger {
      if let failure = try ledger.claim(record) {
        notes.append("no record can be kept in \(ledger.folder): \(failure)")
      }
    } else {
      notes.append("no record is kept: there is no XDG_RUNTIME_DIR")
    }
    var link: GuardianLink?
    if case .program(let path, let arguments) = guardian {
      do throws(ThrottleError) { link = try GuardianLink(program: path, arguments: arguments, record: record) } catch {
        ledger?.remove(record)
        throw error
      }
    }
    self.pid = pid
    self.process = process
    self.ledger = ledger
    self.guardian = guardian
    self.files = files
    self.notes = notes
    self.group = group
    if let group {
      self.method = .cgroup
      worker = ThrottleWorker(process, stopsProcess: false) { group.throttleCount(files) }
    } else {
      self.method = .signals
      worker = ThrottleWorker(process, stopsProcess: true) { 0 }
    }
    state = Mutex(State(record: record, link: link))
    worker.start()
  }

  deinit { release() }

  /// Throttles, or changes by how much, at once.
  ///
  /// With a control group the quota is that part of what the process used at most in a fifth of a second, of the last one and a
  /// half before it was throttled. The first call, if it comes at once, waits for that measurement, half a second at most.
  /// - Parameter percent: of its time that it may not run, 0 (full speed) to 99.
  /// - Throws: the process has ended, the quota is refused, the guardian has ended and another cannot be started; it runs at
  ///   full speed then. ``ThrottleError/released`` after ``release()``.
  public func set(percent: Int) throws(ThrottleError) {
    precondition((0...99).contains(percent), "a throttle is 0 to 99 %")
    try state.withLock { (state) throws(ThrottleError) in
      guard !state.isReleased else { throw .released }
      guard !process.hasEnded else { throw .processGone(pid: pid) }
      if state.percent == 0, percent > 0 { state.unthrottledUse = worker.highestUse }
      do throws(ThrottleError) {
        try apply(percent, &state)
        state.percent = percent
      } catch {
        state.percent = 0
        worker.set(percent: 0)
        try? state.record.undo(files)
        throw error
      }
    }
  }

  /// What was set last.
  public var percent: Int { state.withLock { $0.percent } }

  /// How much it is throttled, measured over the last second (or since it was set): with signals the share of time in which it
  /// was stopped; with a control group what it lacks of its use before it was throttled, and 0 if it did not meet its quota.
  /// 0 to 100; nil until there is a measurement.
  public var measuredPercent: Double? {
    if method == .signals { return worker.stoppedShare.map { $0 * 100 } }
    guard let use = worker.use else { return nil }
    guard worker.meetsQuota, let before = unthrottledUse, before > 0 else { return 0 }
    return min(max(0, 100 * (1 - use / before)), 100)
  }

  /// CPUs that the process uses, all its threads together, measured over the last second (or since it was set).
  public var cpuUse: Double? { worker.use }

  /// CPUs that it used before it was throttled; nil if it was not.
  public var unthrottledUse: Double? { state.withLock { $0.unthrottledUse } }

  /// Whether the process has ended.
  public var hasEnded: Bool { process.hasEnded }

  /// Gives the process its full speed, and lets go of it. May be called again.
  /// - Returns: why the quota could not be restored, if so; the record of it is kept then.
  @discardableResult public func release() -> ThrottleError? {
    state.withLock { state in
      if state.isReleased { return nil }
      state.isReleased = true
      state.percent = 0
      // Stopped by signals, it runs when this returns.
      worker.stop()
      var failure: ThrottleError?
      if group != nil {
        do throws(ThrottleError) { try state.record.undo(files) } catch { failure = error }
      }
      if failure == nil { ledger?.remove(state.record) }
      state.link?.dismiss()
      state.link = nil
      return failure
    }
  }

  /// Releases what others left throttled on this host because they, and their guardians, were killed. Done before each
  /// throttle, too. Only what this user left, and only since the host's boot.
  /// - Returns: a sentence for each process.
  public static func releaseAbandoned() -> [String] { ThrottleLedger.standard?.releaseAbandoned() ?? [] }

  private func apply(_ percent: Int, _ state: inout State) throws(ThrottleError) {
    guard let group else {
      try note(percent > 0 ? .signals : .none, &state)
      return worker.set(percent: percent)
    }
    if percent == 0 {
      try state.record.undo(files)
      try note(.none, &state)
    } else {
      // A process that has hardly run lately is not held at nothing once it does.
      let use = max(state.unthrottledUse ?? 0, 0.1)
      var (original, before): (CPUQuota?, CPUQuota?) = (group.read(files), nil)
      if case .quota(_, let first, let written) = state.record.brake { (original, before) = (first, written.last) }
      guard let original else { throw .controlGroupRefused(file: group.quotaFile, .noSuchFileOrDirectory) }
      let limit = CPUQuota.limit(use * Double(100 - percent) / 100, within: original)
      let written = (before.map { [$0] } ?? []) + [limit]
      try note(.quota(group: group, original: original, written: written), &state)
      try group.write(limit, files)
    }
    worker.set(percent: percent)
  }

  /// Has what will have to be undone known to others, before it is done.
  private func note(_ brake: ThrottleRecord.Brake, _ state: inout State) throws(ThrottleError) {
    state.record.brake = brake
    if let ledger { _ = ledger.update(state.record) }
    guard case .program(let path, let arguments) = guardian, state.link?.tell(state.record) != true else { return }
    state.link = nil
    state.link = try GuardianLink(program: path, arguments: arguments, record: state.record)
  }

  private static func group(
    of process: ProcessHandle, isDemanded: Bool, _ files: HostFiles, _ notes: inout [String]
  ) throws(ThrottleError) -> QuotaGroup? {
    do throws(ThrottleError) { return try GuestGroup.find(of: process.identity, files) } catch {
      if isDemanded { throw error }
      if case .processGone = error { throw error }
      notes.append("throttling by signals: \(error)")
      return nil
    }
  }
}
