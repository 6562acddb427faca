// SPDX-License-Identifier: Apache-2.0
import Synchronization

/// What one lane has done so far. The lane adds, anyone reads; each counter is exact, their moment is not.
final class LaneCounters: Sendable {
  /// Pages found zero, and sent as a bit.
  let zeroPages = Atomic<UInt64>(0)
  /// Pages sent with their bytes.
  let dataPages = Atomic<UInt64>(0)
  /// Frames handed to the channel.
  let frames = Atomic<UInt64>(0)
  /// Bytes given to the codec and got back, for the frames where it paid.
  let codecBytesIn = Atomic<UInt64>(0)
  let codecBytesOut = Atomic<UInt64>(0)
  /// Pages that went raw because the codec did not shrink their frame.
  let bypassedPages = Atomic<UInt64>(0)
  /// Time in the codec, in reading guest memory, and waiting for a free slot (the link is the limit), in ns.
  let codecNanoseconds = Atomic<UInt64>(0)
  let snapshotNanoseconds = Atomic<UInt64>(0)
  let blockedNanoseconds = Atomic<UInt64>(0)
}

/// The sum of all lanes, at one moment.
public struct SendingStatistics: Sendable, Equatable, Codable {
  public var zeroPages: UInt64 = 0
  public var dataPages: UInt64 = 0
  public var frames: UInt64 = 0
  public var codecBytesIn: UInt64 = 0
  public var codecBytesOut: UInt64 = 0
  public var bypassedPages: UInt64 = 0
  public var codecNanoseconds: UInt64 = 0
  public var snapshotNanoseconds: UInt64 = 0
  public var blockedNanoseconds: UInt64 = 0

  public init() {}

  mutating func add(_ counters: LaneCounters) {
    zeroPages += counters.zeroPages.load(ordering: .relaxed)
    dataPages += counters.dataPages.load(ordering: .relaxed)
    frames += counters.frames.load(ordering: .relaxed)
    codecBytesIn += counters.codecBytesIn.load(ordering: .relaxed)
    codecBytesOut += counters.codecBytesOut.load(ordering: .relaxed)
    bypassedPages += counters.bypassedPages.load(ordering: .relaxed)
    codecNanoseconds += counters.codecNanoseconds.load(ordering: .relaxed)
    snapshotNanoseconds += counters.snapshotNanoseconds.load(ordering: .relaxed)
    blockedNanoseconds += counters.blockedNanoseconds.load(ordering: .relaxed)
  }
}
