// SPDX-License-Identifier: Apache-2.0
public import PageCodecs
import Synchronization

/// What one lane has done so far. The lane adds, anyone reads; each counter is exact, their moment is not.
final class LaneCounters: Sendable {
  /// Pages found zero, and sent as a bit.
  let zeroPages = Atomic<UInt64>(0)
  /// Pages sent with their bytes.
  let dataPages = Atomic<UInt64>(0)
  /// Pages sent as deltas; their bytes with the lengths, before the codec and on the wire.
  let deltaPages = Atomic<UInt64>(0)
  let deltaBytes = Atomic<UInt64>(0)
  let deltaWireBytes = Atomic<UInt64>(0)
  /// Pages that were dirty and are not sent, because they are what was sent last.
  let unchangedPages = Atomic<UInt64>(0)
  /// Times that a page was held back because its span is hot.
  let deferredPages = Atomic<UInt64>(0)
  /// Dirty pages found in the delta cache, and not; those whose delta was too long; pages in the cache; its bytes.
  let cacheHits = Atomic<UInt64>(0)
  let cacheMisses = Atomic<UInt64>(0)
  let cacheOverflows = Atomic<UInt64>(0)
  let cachedPages = Atomic<Int>(0)
  let cacheByteCount = Atomic<Int>(0)
  /// Frames handed to the channel.
  let frames = Atomic<UInt64>(0)
  /// Time in reading guest memory, and waiting for a free slot or for the socket (the link is the limit), in ns.
  let snapshotNanoseconds = Atomic<UInt64>(0)
  let blockedNanoseconds = Atomic<UInt64>(0)
  /// What the link took for a byte, in ps, and when that was so, by the host's clock in ns.
  let linkPicoseconds = Atomic<UInt64>(0)
  let linkSeenAt = Atomic<UInt64>(0)
}

/// What a lane has done with one codec at one level.
final class CodecCounters: Sendable {
  /// Frames and pages that travelled encoded.
  let frames = Atomic<UInt64>(0)
  let pages = Atomic<UInt64>(0)
  /// Their bytes before and after.
  let bytesIn = Atomic<UInt64>(0)
  let bytesOut = Atomic<UInt64>(0)
  /// Pages that went raw, because they look random or did not shrink.
  let bypassedPages = Atomic<UInt64>(0)
  /// Time of the lane's thread on a CPU, in ns, for all of these.
  let cpuNanoseconds = Atomic<UInt64>(0)
}

extension CodecUsage {
  mutating func add(_ counters: CodecCounters) {
    frames += counters.frames.load(ordering: .relaxed)
    pages += counters.pages.load(ordering: .relaxed)
    bytesIn += counters.bytesIn.load(ordering: .relaxed)
    bytesOut += counters.bytesOut.load(ordering: .relaxed)
    bypassedPages += counters.bypassedPages.load(ordering: .relaxed)
    cpuNanoseconds += counters.cpuNanoseconds.load(ordering: .relaxed)
  }
}

/// The sum of all lanes, at one moment.
public struct SendingStatistics: Sendable, Equatable, Codable {
  public var zeroPages: UInt64 = 0
  public var dataPages: UInt64 = 0
  public var deltaPages: UInt64 = 0
  /// Deltas with their lengths, before the codec and on the wire.
  public var deltaBytes: UInt64 = 0
  public var deltaWireBytes: UInt64 = 0
  public var unchangedPages: UInt64 = 0
  public var deferredPages: UInt64 = 0
  public var cacheHits: UInt64 = 0
  public var cacheMisses: UInt64 = 0
  public var cacheOverflows: UInt64 = 0
  public var cachedPages = 0
  public var cacheByteCount = 0
  public var frames: UInt64 = 0
  public var snapshotNanoseconds: UInt64 = 0
  public var blockedNanoseconds: UInt64 = 0
  /// One for each choice of the policies so far.
  public var codecs: [CodecUsage] = []
  /// How often lanes have changed their codec.
  public var codecChanges = 0
  /// Where each lane's time went, in ns.
  public var lanes: [LaneTime] = []

  /// Where one lane's time went, in ns.
  public struct LaneTime: Sendable, Equatable, Codable {
    public var reading: UInt64
    public var encoding: UInt64
    public var blocked: UInt64
  }

  public init() {}

  /// Pages dealt with, whether they travelled or not.
  public var donePages: UInt64 { zeroPages + dataPages + deltaPages + unchangedPages }

  init(_ selection: CodecSelection, _ lanes: [LaneCounters]) {
    for lane in lanes { add(lane) }
    add(selection)
  }

  private mutating func add(_ counters: LaneCounters) {
    zeroPages += counters.zeroPages.load(ordering: .relaxed)
    dataPages += counters.dataPages.load(ordering: .relaxed)
    deltaPages += counters.deltaPages.load(ordering: .relaxed)
    deltaBytes += counters.deltaBytes.load(ordering: .relaxed)
    deltaWireBytes += counters.deltaWireBytes.load(ordering: .relaxed)
    unchangedPages += counters.unchangedPages.load(ordering: .relaxed)
    deferredPages += counters.deferredPages.load(ordering: .relaxed)
    cacheHits += counters.cacheHits.load(ordering: .relaxed)
    cacheMisses += counters.cacheMisses.load(ordering: .relaxed)
    cacheOverflows += counters.cacheOverflows.load(ordering: .relaxed)
    cachedPages += counters.cachedPages.load(ordering: .relaxed)
    cacheByteCount += counters.cacheByteCount.load(ordering: .relaxed)
    frames += counters.frames.load(ordering: .relaxed)
    snapshotNanoseconds += counters.snapshotNanoseconds.load(ordering: .relaxed)
    blockedNanoseconds += counters.blockedNanoseconds.load(ordering: .relaxed)
    lanes.append(
      LaneTime(
        reading: counters.snapshotNanoseconds.load(ordering: .relaxed),
        encoding: 0,
        blocked: counters.blockedNanoseconds.load(ordering: .relaxed)))
  }
}
