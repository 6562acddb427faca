// SPDX-License-Identifier: Apache-2.0
import Convergence
package import Lanes
public import PageCodecs

/// A moment of a migration, running or over: one snapshot for displays, programs and reports, on both sides.
///
/// Where QEMU's `query-migrate` (qapi/migration.json, 10.0) has a figure, this has it under the same name and in the
/// same unit: times in ms, rates in pages/s and Mbit/s (10⁶), sizes in bytes. What QEMU does not have comes after.
/// Taking one costs some atomic loads per lane.
public struct MigrationStatistics: Sendable, Codable, Equatable {
  public var status: Phase
  public var totalTime: Double
  public var setupTime: Double
  /// After the switchover; nil before it and for a guest that does not run.
  public var downtime: Double?
  /// What the downtime would be if the guest were paused at the last sync.
  public var expectedDowntime: Double?
  public var ram: RAM
  /// Nil without a delta cache.
  public var xbzrleCache: DeltaCacheUse?

  /// Beyond QEMU: who, how, and where the time goes.
  public var peer: String
  public var pages: Pages
  public var codecs: [CodecUsage] = []
  public var lanes: [LaneUse] = []
  public var iteration: IterationReport?
  public var downtimeParts: Downtime?
  /// Of a guest that runs: whether it will end, and why not.
  public var convergence: Convergence?
  /// Share of its time that the guest may not run now, in percent; nil while it is not throttled.
  public var throttlePercentage: Int?
  /// Data channels that lanes feed now, or are about to.
  public var channels = 0
  /// Of a half of a proxy pair.
  public var relay: Relay?

  /// Whether a migration will end. Rates are bytes of guest memory per second.
  public struct Convergence: Sendable, Codable, Equatable {
    /// `measuring`, `converging`, `stalled` or `cannot-converge`.
    public var verdict: String
    /// The same in a sentence, with the figures and what would help.
    public var advice: String
    /// What the guest writes, as it is throttled now.
    public var dirtyRate: Double?
    /// Bytes per second on the link while it is busy, as the destination acknowledged them.
    public var wireRate: Double?
    /// How fast pages that are sent again are dealt with.
    public var transferRate: Double?
    /// Bytes of guest memory per byte on the wire, of pages that are sent again.
    public var hotRatio: Double
    /// Memory that was written in the last seconds.
    public var workingSet: Double
    /// Milliseconds until the guest can be paused, and the downtime at which iterations stop getting better.
    public var timeToConverge: Double?
    public var reachableDowntime: Double?
    /// What would do, each by itself: a throttle in percent, a multiple of the bandwidth.
    public var neededThrottle: Double?
    public var neededBandwidth: Double?
    /// In percent, over the whole migration, and the most.
    public var meanThrottle: Double
    public var highestThrottle: Int
    /// The downtime that is allowed now, in ms; a ramp may have it below the limit.
    public var downtimeLimit: Double
    /// By order of the operator: the guest is paused, or it stays although it could be handed over.
    public var isPaused: Bool
    public var holds: Bool

    enum CodingKeys: String, CodingKey {
      case verdict, advice, holds
      case dirtyRate = "dirty-rate"
      case wireRate = "wire-rate"
      case transferRate = "transfer-rate"
      case hotRatio = "hot-ratio"
      case workingSet = "working-set"
      case timeToConverge = "time-to-converge"
      case reachableDowntime = "reachable-downtime"
      case neededThrottle = "needed-throttle"
      case neededBandwidth = "needed-bandwidth"
      case meanThrottle = "mean-throttle"
      case highestThrottle = "highest-throttle"
      case downtimeLimit = "downtime-limit"
      case isPaused = "paused"
    }
  }

  public struct RAM: Sendable, Codable, Equatable {
    /// Bytes on all channels.
    public var transferred: UInt64 = 0
    /// Bytes of guest memory that are pending, as far as the last sync tells; nil where nobody knows: at a destination, and
    /// with a proxy.
    public var remaining: UInt64?
    public var total: UInt64 = 0
    /// Zero pages, and pages sent whole (`normal-bytes` before the codec).
    public var duplicate: UInt64 = 0
    public var normal: UInt64 = 0
    public var normalBytes: UInt64 = 0
    public var dirtyPagesRate: Double = 0
    public var mbps: Double = 0
    public var pagesPerSecond: Double = 0
    public var dirtySyncCount: Int = 0
    public var pageSize: Int = 4096
    /// Bytes before the guest was paused, and while it was.
    public var precopyBytes: UInt64 = 0
    public var downtimeBytes: UInt64 = 0

    package init() {}

    enum CodingKeys: String, CodingKey {
      case transferred, remaining, total, duplicate, normal, mbps
      case normalBytes = "normal-bytes"
      case dirtyPagesRate = "dirty-pages-rate"
      case pagesPerSecond = "pages-per-second"
      case dirtySyncCount = "dirty-sync-count"
      case pageSize = "page-size"
      case precopyBytes = "precopy-bytes"
      case downtimeBytes = "downtime-bytes"
    }
  }

  public struct DeltaCacheUse: Sendable, Codable, Equatable {
    public var cacheSize: Int
    /// Bytes of deltas on the wire; pages sent as deltas.
    public var bytes: UInt64
    public var pages: UInt64
    public var cacheMiss: UInt64
    /// Misses per page looked up.
    public var cacheMissRate: Double
    /// Bytes of pages per byte of their deltas, before the codec.
    public var encodingRate: Double
    public var overflow: UInt64
    /// Beyond QEMU: pages found, and pages in the cache now.
    public var hits: UInt64
    public var cachedPages: Int

    enum CodingKeys: String, CodingKey {
      case bytes, pages, overflow, hits
      case cacheSize = "cache-size"
      case cacheMiss = "cache-miss"
      case cacheMissRate = "cache-miss-rate"
      case encodingRate = "encoding-rate"
      case cachedPages = "cached-pages"
    }
  }

  /// What became of pages, in pages. `sent = zero + data + delta`; unchanged ones were dirty and did not travel.
  public struct Pages: Sendable, Codable, Equatable {
    public var total: UInt64 = 0
    public var notRead: UInt64 = 0
    public var zero: UInt64 = 0
    public var data: UInt64 = 0
    public var delta: UInt64 = 0
    public var unchanged: UInt64 = 0
    public var deferred: UInt64 = 0
  }

  /// Where a lane's time went, as shares of the time since the pages began to flow.
  public struct LaneUse: Sendable, Codable, Equatable {
    public var reading: Double
    public var encoding: Double
    /// Waiting for the link.
    public var blocked: Double
  }

  enum CodingKeys: String, CodingKey {
    case status, downtime, ram, peer, pages, codecs, lanes, iteration, convergence, channels, relay
    case throttlePercentage = "cpu-throttle-percentage"
    case totalTime = "total-time"
    case setupTime = "setup-time"
    case expectedDowntime = "expected-downtime"
    case xbzrleCache = "xbzrle-cache"
    case downtimeParts = "downtime-parts"
  }

  /// What the lanes encode with now: `zstd:1`, or several with the lightest first.
  public var codecsInUse: String { codecs.filter { $0.lanes > 0 }.map { $0.codec }.joined(separator: "/") }

  /// Share of the guest's memory that the bulk stage is through with, 0 to 1.
  public var bulkFraction: Double {
    let done = pages.notRead + pages.zero + pages.data + pages.delta
    return pages.total == 0 ? 0 : Double(min(pages.total, done)) / Double(pages.total)
  }
}

extension MigrationStatistics.Pages {
  package init(total: Int, notRead: UInt64, _ sent: SendingStatistics) {
    self.init(
      total: UInt64(total), notRead: notRead, zero: sent.zeroPages, data: sent.dataPages, delta: sent.deltaPages,
      unchanged: sent.unchangedPages, deferred: sent.deferredPages)
  }
}

extension MigrationStatistics.DeltaCacheUse {
  init?(_ sent: SendingStatistics) {
    guard sent.cacheByteCount > 0 || sent.cacheHits > 0 else { return nil }
    let looked = sent.cacheHits + sent.cacheMisses
    self.init(
      cacheSize: sent.cacheByteCount, bytes: sent.deltaWireBytes, pages: sent.deltaPages, cacheMiss: sent.cacheMisses,
      cacheMissRate: looked == 0 ? 0 : Double(sent.cacheMisses) / Double(looked),
      encodingRate: sent.deltaBytes == 0 ? 0 : Double(sent.deltaPages) * 4096 / Double(sent.deltaBytes),
      overflow: sent.cacheOverflows, hits: sent.cacheHits, cachedPages: sent.cachedPages)
  }
}
