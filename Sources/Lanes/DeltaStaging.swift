// SPDX-License-Identifier: Apache-2.0
import HostSystem
import PageKernels
import PageModel
import SystemPackage
import Wire

/// Where a frame's deltas are collected, with room for their lengths in front. Touched only as far as it is used.
struct DeltaStaging: ~Copyable {
  /// Most deltas in one frame.
  private static let countMax = WireLimits.frameRecordCountMax * PageGeometry.pagesPerSpan
  /// Where deltas begin.
  private static let offset = countMax * DeltaPart.lengthByteCount

  private var buffer: PageBuffer
  private var lengths: [UInt16] = []
  private var deltaByteCount = 0
  /// The longest delta that is worth having in this frame.
  var capacity = DeltaPart.deltaByteCountMax

  init() throws(Errno) {
    buffer = try PageBuffer(byteCount: Self.offset + (FrameRing.payloadPageCount + 1) * PageGeometry.pageByteCount)
    lengths.reserveCapacity(Self.countMax)
  }

  var count: Int { lengths.count }
  /// Bytes of the delta part: lengths and deltas.
  var byteCount: Int { lengths.count * DeltaPart.lengthByteCount + deltaByteCount }

  /// Adds the delta that turns `cached` into `page`, and brings `cached` up to date. There must be room: the frame is
  /// closed before a span's worth might not fit.
  mutating func add(updating cached: inout MutableRawSpan, to page: RawSpan) -> Delta.Result {
    let start = Self.offset + deltaByteCount
    let capacity = capacity
    let result = buffer.withMutableBytes(start..<start + capacity + Delta.scratchByteCount) {
      Delta.update(cached: &cached, to: page, into: &$0, capacity: capacity)
    }
    if case .delta(let byteCount) = result {
      lengths.append(UInt16(byteCount))
      deltaByteCount += byteCount
    }
    return result
  }

  /// Calls `body` with the whole delta part.
  mutating func withPart<Result>(_ body: (RawSpan) -> Result) -> Result {
    let start = Self.offset - lengths.count * DeltaPart.lengthByteCount
    buffer.withMutableBytes(start..<Self.offset) { DeltaPart.encode(lengths: lengths, into: &$0) }
    return buffer.withBytes(start..<Self.offset + deltaByteCount, body)
  }

  mutating func removeAll() {
    lengths.removeAll(keepingCapacity: true)
    deltaByteCount = 0
  }
}
