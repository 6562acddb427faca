// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Lanes
public import Migration
import Synchronization
import Transport

/// What one half of a proxy pair has done with one connection, now or at its end.
public struct RelayReport: Sendable, Codable, Equatable {
  public enum Role: String, Sendable, Codable { case source, destination }

  /// How the stream was carried.
  public enum Mode: String, Sendable, Codable {
    /// As it is: it could not be taken apart.
    case verbatim
    /// Pages over the lanes; the destination's stream is made anew.
    case pages
    /// Pages over the lanes, straight into the destination hypervisor's memory.
    case direct
  }

  public var role: Role
  public var phase: Phase
  public var mode: Mode
  public var seconds: Double
  /// Bytes of guest memory in the stream's RAM blocks; 0 if it could not be taken apart.
  public var guestBytes: UInt64 = 0
  /// Bytes of the hypervisor's stream at this side, and on all channels between the two halves.
  public var streamBytes: UInt64 = 0
  public var wireBytes: UInt64 = 0
  /// Bytes of the stream that were passed on as they are.
  public var relayedBytes: UInt64 = 0
  public var pages = Pages()
  public var iterations: UInt32 = 0
  /// At the source: what may be under way now, and the most that was, in bytes of the stream; bytes of pages that wait.
  public var windowBytes: Int = 0
  public var highestWindowBytes: Int = 0
  public var heldBytes: Int = 0
  /// Bytes of the stream that reach the destination hypervisor in a second.
  public var rate: Double?
  public var failure: MigrationReport.Failure?

  /// Pages by what became of them.
  public struct Pages: Sendable, Codable, Equatable {
    /// In the hypervisor's stream.
    public var received: UInt64 = 0
    /// Overtaken by a newer version before they were sent.
    public var superseded: UInt64 = 0
    /// Sent, or at the destination arrived: as zero, whole, as a delta; and not, because the destination has them.
    public var zero: UInt64 = 0
    public var data: UInt64 = 0
    public var delta: UInt64 = 0
    public var unchanged: UInt64 = 0
  }
}

extension RelaySource {
  /// Where it stands.
  public var report: RelayReport {
    let now = state.withLock { $0 }
    let read = stream.statistics
    let use = window.use
    let sent = now.pipeline?.statistics ?? .init()
    var report = RelayReport(
      role: .source, phase: now.phase == .active && read.isEnding ? .switchover : now.phase, mode: now.mode,
      seconds: Double((now.endedAt ?? HostClock.now()) - startedAt) / 1e9)
    report.guestBytes = now.guestByteCount
    report.streamBytes = use.taken
    report.wireBytes = now.connections.reduce(0) { $0 + $1.sentByteCount }
    report.relayedBytes = now.relayed
    report.pages = .init(
      received: read.pages, superseded: now.memory?.supersededPages.load(ordering: .relaxed) ?? 0,
      zero: sent.zeroPages, data: sent.dataPages, delta: sent.deltaPages, unchanged: sent.unchangedPages)
    report.iterations = now.iteration
    (report.windowBytes, report.highestWindowBytes) = (use.limit, use.highest)
    report.heldBytes = now.memory?.heldByteCount ?? 0
    report.rate = window.rate
    if let failure = now.failure {
      report.failure = .init(failure)
    }
    return report
  }
}
