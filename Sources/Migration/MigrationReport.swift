// SPDX-License-Identifier: Apache-2.0
import HostSystem
package import Lanes
public import PageCodecs
public import Transport

/// Everything that is known about a migration when it is over. `docs/OPERATIONS.md` documents the JSON.
///
/// Units are in the names: bytes are bytes, pages are 4096 bytes, seconds are seconds.
public struct MigrationReport: Sendable, Codable {
  /// Changes when a field changes its meaning or goes; new fields may appear without it.
  public var schema = 1
  public var role: Role
  public var outcome: Phase
  public var failure: Failure?
  public var session: String
  public var peer: String
  public var blocks: [Block]
  public var pages: Pages
  public var bytes: Bytes
  public var seconds: PhaseSeconds
  public var codec: Codec
  public var channels: Int
  public var lanes: Int
  public var resources: Resources
  /// Of a guest that ran while it was moved.
  public var live: Live?
  /// Where worker threads ran; nil if it did not get so far.
  public var placement: Placement?
  /// On the source, of memory that did not change: what came of sending it without the kernel's copy.
  public var zeroCopy: ZeroCopyUse?
  /// On the destination: threads that decode for a channel which outruns its own.
  public var decoders: Decoders?
  /// Of a half of a proxy pair.
  public var relay: MigrationStatistics.Relay?

  public enum Role: String, Sendable, Codable { case source, destination }

  public struct Failure: Sendable, Codable, Equatable {
    public var code: UInt16
    public var name: String
    public var reason: String
    public var fromPeer: Bool

    package init(_ failure: MigrationFailure) {
      code = failure.code.rawValue
      name = "\(failure.code)"
      reason = failure.reason
      fromPeer = failure.isFromPeer
    }
  }

  public struct Block: Sendable, Codable {
    public var name: String
    public var guestPhysicalBase: UInt64
    public var byteCount: UInt64
    /// XXH3-based digest of the content in hexadecimal; nil if it was not computed.
    public var digest: String?
  }

  public typealias Pages = MigrationStatistics.Pages

  public struct Live: Sendable, Codable {
    /// How writes were tracked.
    public var tracking: String
    /// Nil if the guest was not handed over.
    public var downtime: Downtime?
    /// Every iteration; of more than 200, the first and the latest.
    public var iterations: [IterationReport]
    public var deltaCache: MigrationStatistics.DeltaCacheUse?
    public var guestIs: Whereabouts
    /// What the downtime was expected to be when the guest was paused, in ms.
    public var expectedDowntime: Double?
    /// What was last said about its end, with the figures.
    public var verdict: String?
    /// Share of its time that the guest could not run, in percent: over the whole migration, and the most.
    public var meanThrottle = 0.0
    public var highestThrottle = 0
  }

  /// Where a guest runs, as far as one side knows.
  public enum Whereabouts: String, Sendable, Codable {
    case atSource, pausedAtSource, atDestination
  }

  public struct Placement: Sendable, Codable {
    /// `none`, `node` or `cpu`: what `auto` stood for, if that was asked for.
    public var policy: String
    /// A line for the threads that were placed alike: `lanes 0-1: CPUs 0-1`.
    public var threads: [String]
    /// Nil for that of the process.
    public var nice: Int?
    public var batch: Bool
  }

  public struct Decoders: Sendable, Codable {
    public var perChannel: Int
    /// Frames that they decoded; all others the channels' own threads did.
    public var frames: UInt64
  }

  public struct Bytes: Sendable, Codable {
    public var guest: UInt64
    /// What the sockets of all channels carried in the direction of the destination.
    public var wire: UInt64
    /// Guest bytes per second over the whole migration, and over the active phase.
    public var guestPerSecond: Double
    public var wirePerSecond: Double
  }

  public struct PhaseSeconds: Sendable, Codable {
    public var setup: Double
    public var reservation: Double
    public var active: Double
    public var switchover: Double
    public var commit: Double

    public var total: Double { setup + reservation + active + switchover + commit }
  }

  public struct Codec: Sendable, Codable {
    /// What the operator asked for: a codec and its level, or `auto`.
    public var name: String
    public var library: String
    /// Bytes of data pages given to codecs, and what they made of them. On the destination both are zero.
    public var bytesIn: UInt64
    public var bytesOut: UInt64
    /// Data pages that were given to a codec and travelled raw, because they look random or did not shrink.
    public var bypassedPages: UInt64
    /// Time in codecs, over all threads; on the source, on the CPU.
    public var seconds: Double
    /// What each codec did, in the order of their strength; empty on the destination.
    public var uses: [CodecUsage] = []
    /// How often lanes changed their codec.
    public var changes = 0
  }

  public struct Resources: Sendable, Codable {
    /// Processor time of this process since the migration began, user and system, all threads.
    public var cpuSeconds: Double
    public var peakResidentBytes: UInt64
    /// Frame buffers, allocated once.
    public var bufferBytes: UInt64
    /// What codecs may hold of the pages that they have seen, over all lanes.
    public var historyBytes: UInt64
    /// Lanes' time in reading guest memory (source) or writing it (destination).
    public var memorySeconds: Double
    /// Lanes' time waiting for a free slot: above zero, the link (or the destination) is the limit.
    public var blockedSeconds: Double

    static func current(
      cpuNanoseconds: Int64, bufferBytes: Int, historyBytes: Int, memoryNanoseconds: UInt64, blockedNanoseconds: UInt64
    )
      -> Resources
    {
      let usage = ProcessUsage.current()
      return Resources(
        cpuSeconds: Double(cpuNanoseconds) / 1e9, peakResidentBytes: UInt64(usage.peakResidentByteCount),
        bufferBytes: UInt64(bufferBytes), historyBytes: UInt64(historyBytes),
        memorySeconds: Double(memoryNanoseconds) / 1e9,
        blockedSeconds: Double(blockedNanoseconds) / 1e9)
    }
  }

  /// Marks the report as that of a migration that did not complete.
  public mutating func fail(_ failure: MigrationFailure, phase: Phase) {
    outcome = phase
    self.failure = Failure(failure)
  }

  /// Bytes of data pages per byte that travelled for them: zero pages are not counted as compression.
  public var dataRatio: Double {
    let raw = Double(pages.data) * 4096
    return bytes.wire > 0 && raw > 0 ? raw / Double(bytes.wire) : 1
  }
}

extension MigrationReport.Placement {
  init(_ placement: Lanes.Placement) {
    policy = placement.policy.rawValue
    threads = placement.lines
    nice = placement.niceness
    batch = placement.isBatch
  }
}

extension MigrationReport.Codec {
  /// What the source did.
  package init(_ policy: CodecPolicy, _ sent: SendingStatistics) {
    let tags = policy.tags.count > 1 ? policy.tags.filter { $0 != .none } : policy.tags
    let libraries = tags.compactMap { CodecRegistry.codec(tag: $0)?.identity.library }
    let encoding = zip(policy.choices, sent.codecs).filter { $0.0 != .none }.map { $0.1 }
    name = "\(policy)"
    library = libraries.reduce(into: []) { all, one in if !all.contains(one) { all.append(one) } }.joined(
      separator: ", ")
    bytesIn = encoding.reduce(0) { $0 + $1.bytesIn }
    bytesOut = encoding.reduce(0) { $0 + $1.bytesOut }
    bypassedPages = encoding.reduce(0) { $0 + $1.bypassedPages }
    seconds = Double(encoding.reduce(0) { $0 + $1.cpuNanoseconds }) / 1e9
    uses = sent.codecs.filter { $0.pages + $0.bypassedPages > 0 }
    changes = sent.codecChanges
  }
}

extension SendingStatistics {
  /// Whether a codec with a history has been used.
  func usesHistory(_ policy: CodecPolicy) -> Bool {
    zip(policy.choices, codecs).contains { $0.0.hasHistory && $0.1.pages > 0 }
  }
}
