// SPDX-License-Identifier: Apache-2.0
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
    var expectedDowntime: UInt64?
    var pausedAt: UInt64?
    /// Whether the guest was paused and runs here again.
    var runsAgain = false
    var wireAtPause: UInt64 = 0
    var downtime: Downtime?
    var digests: [BlockDigest] = []
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

  func noteSync(pendingPages: Int, dirtyPagesPerSecond: Double?, expectedDowntime: UInt64?) {
    state.withLock { state in
      state.pendingPages = pendingPages
      state.doneAtSync = state.pipeline?.statistics.donePages ?? 0
      state.syncCount += 1
      if let dirtyPagesPerSecond { state.dirtyPagesPerSecond = dirtyPagesPerSecond }
      state.expectedDowntime = expectedDowntime
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

  func notePaused() {
    state.withLock { state in
      state.pausedAt = HostClock.now()
      state.wireAtPause = state.wireBytes
    }
  }

  /// The guest runs here again.
  func noteRunsAgain() {
    state.withLock { state in
      state.pausedAt = nil
      state.runsAgain = true
    }
  }

  func note(_ downtime: Downtime) { state.withLock { $0.downtime = downtime } }

  func note(digests: [BlockDigest]) { state.withLock { $0.digests = digests } }

  var isPaused: Bool { state.withLock { $0.pausedAt != nil } }

  var bytesSincePause: UInt64 { state.withLock { $0.wireBytes - $0.wireAtPause } }

  var lastIteration: IterationReport? { state.withLock { $0.iterations.last } }

  func shutDown() { for connection in now.connections { connection.shutDown() } }
}

extension SourceRecord.State {
  /// Bytes that all channels' sockets have taken.
  var wireBytes: UInt64 { connections.reduce(0) { $0 + $1.sentByteCount } }
}
