// SPDX-License-Identifier: Apache-2.0
import Convergence
import HostSystem
import Lanes
import PageKernels
import Synchronization
import Transport

/// What is known of a migration at the source while it runs. The session notes, anyone reads.
final class SourceRecord: Sendable {
  struct State {
    var connections: [Connection] = []
    var pipeline: SendingPipeline?
    var notReadPages: UInt64 = 0
    var iterations: [IterationReport] = []
    var current: IterationReport?
    var pendingPages = 0
    /// Pages dealt with when `pendingPages` was counted.
    var doneAtSync: UInt64 = 0
    var syncCount = 0
    var dirtyPagesPerSecond = 0.0
    /// In nanoseconds: if the guest were paused at the last sync, and what was allowed then.
    var expectedDowntime: UInt64?
    var allowedDowntime: UInt64 = 0
    var pausedAt: UInt64?
    /// Whether the guest is paused because it is being handed over, not by an order.
    var isHandingOver = false
    var wireAtPause: UInt64 = 0
    var downtime: Downtime?
    var digests: [BlockDigest] = []
    var reading = ConvergenceReading()
    var verdict = Verdict(kind: .measuring)
    var throttle = ThrottleHistory()

    var verdictSentence: String { verdict.sentence(reading) }
  }

  /// Iterations that are kept one by one; of more, the first and the latest.
  private static let iterationCountMax = 200

  private let state = Mutex(State())

  var now: State { state.withLock { $0 } }

  func add(_ connection: Connection) { state.withLock { $0.connections.append(connection) } }

  func note(_ pipeline: SendingPipeline, notReadPages: UInt64, pendingPages: Int) {
    state.withLock { state in
      state.pipeline = pipeline
      state.notReadPages = notReadPages
      state.pendingPages = pendingPages
    }
  }

  func noteSync(
    pendingPages: Int, dirtyPagesPerSecond: Double?, expectedDowntime: UInt64?, allowedDowntime: UInt64? = nil
  ) {
    state.withLock { state in
      state.pendingPages = pendingPages
      state.doneAtSync = state.pipeline?.statistics.donePages ?? 0
      state.syncCount += 1
      if let dirtyPagesPerSecond { state.dirtyPagesPerSecond = dirtyPagesPerSecond }
      state.expectedDowntime = expectedDowntime
      if let allowedDowntime { state.allowedDowntime = allowedDowntime }
    }
  }

  func begin(_ iteration: IterationReport) { state.withLock { $0.current = iteration } }

  func end(_ iteration: IterationReport) {
    state.withLock { state in
      state.current = nil
      if state.iterations.count == Self.iterationCountMax { state.iterations.remove(at: Self.iterationCountMax / 2) }
      state.iterations.append(iteration)
    }
  }

  func notePaused(at now: UInt64) {
    state.withLock { state in
      state.pausedAt = now
      state.wireAtPause = state.wireBytes
    }
  }

  func note(_ reading: ConvergenceReading, _ verdict: Verdict) {
    state.withLock { state in
      state.reading = reading
      state.verdict = verdict
    }
  }

  func note(throttlePercent percent: Int) { state.withLock { $0.throttle.set(percent, at: HostClock.now()) } }

  /// The guest runs here again.
  func noteRunsAgain() {
    state.withLock { state in
      state.pausedAt = nil
      state.isHandingOver = false
    }
  }

  func noteHandingOver() { state.withLock { $0.isHandingOver = true } }

  func note(_ downtime: Downtime) { state.withLock { $0.downtime = downtime } }

  func note(digests: [BlockDigest]) { state.withLock { $0.digests = digests } }

  var remainingPages: Int { now.remainingPages }

  var isPaused: Bool { state.withLock { $0.pausedAt != nil } }

  var bytesSincePause: UInt64 { state.withLock { $0.wireBytes - $0.wireAtPause } }

  var lastIteration: IterationReport? { state.withLock { $0.iterations.last } }

  func shutDown() { for connection in now.connections { connection.shutDown() } }
}

extension SourceRecord.State {
  /// Pages that are pending, as far as the last sync tells.
  var remainingPages: Int {
    let done = pipeline?.statistics.donePages ?? 0
    return max(0, pendingPages - Int(clamping: done - min(done, doneAtSync)))
  }

  /// Bytes that all channels' sockets have taken.
  var wireBytes: UInt64 { connections.reduce(0) { $0 + $1.sentByteCount } }
}

/// How much a guest was throttled, over time.
struct ThrottleHistory: Equatable {
  /// Of its time that the guest may not run now, and the most that it was, in percent.
  private(set) var percent = 0
  private(set) var highest = 0
  private var changedAt: UInt64 = 0
  /// Percent times nanoseconds until the last change.
  private var sum = 0.0

  mutating func set(_ percent: Int, at now: UInt64) {
    sum = total(now)
    changedAt = now
    self.percent = percent
    highest = max(highest, percent)
  }

  /// The mean over `duration` nanoseconds that end now, of which none was throttled before the history began; in
  /// percent.
  func mean(at now: UInt64, over duration: UInt64) -> Double { total(now) / Double(max(1, duration)) }

  /// Percent times nanoseconds so far.
  func total(_ now: UInt64) -> Double { sum + Double(percent) * Double(now - min(now, changedAt)) }
}
