// SPDX-License-Identifier: Apache-2.0
import HostSystem
import PageCodecs
import PageModel
import Synchronization
import SystemPackage
import Wire

/// A received frame and the buffers that it is received and decoded into, allocated once.
///
/// Belongs to the channel's thread; from the moment that a decoder claims it until ``isDecoded``, to that decoder.
final class FrameSlot: @unchecked Sendable {
  /// What frames may have that fit into a slot of a ``DecodeQueue``: a lane of this program never makes larger ones.
  static let queuedBodyByteCount = 512 << 10
  static let queuedDecodedByteCount = 512 << 10
  /// Of a slot that takes every frame that the protocol allows.
  static let largestBodyByteCount = WireLimits.frameByteCountMax
  static let largestDecodedByteCount = 2 * WireLimits.framePageCountMax * PageGeometry.pageByteCount

  private(set) var header = FrameHeader(type: .endOfIteration, iteration: 0, lane: 0, bodyChecksum: 0)
  /// The records, and where the parts of the payload are.
  private(set) var body = FrameBody()
  private var bytes: PageBuffer
  /// The data part, then the delta part, of what was encoded.
  private var decoded: PageBuffer
  private let state = Atomic<Bool>(false)
  private var failure: CodecError?

  /// - Parameter node: that its buffers prefer; nil: none.
  init(bodyByteCount: Int, decodedByteCount: Int, node: Int?) throws(Errno) {
    bytes = try PageBuffer(byteCount: bodyByteCount, node: node)
    decoded = try PageBuffer(byteCount: decodedByteCount, node: node)
  }

  /// Whether a frame has room here.
  static func isQueueable(_ header: FrameHeader) -> Bool {
    header.bodyByteCount <= queuedBodyByteCount
      && header.dataDecodedByteCount + header.deltaDecodedByteCount <= queuedDecodedByteCount
  }

  /// Begins with a new frame, of which the header has passed.
  func begin(_ header: FrameHeader) {
    self.header = header
    failure = nil
    state.store(false, ordering: .relaxed)
  }

  /// Where a part of the body is received.
  func withRoom<Failure: Error>(
    _ range: Range<Int>, _ use: (inout MutableRawSpan) throws(Failure) -> Void
  ) throws(Failure) {
    try bytes.withMutableBytes(range, use)
  }

  /// Checks what was received, and takes the records.
  func check(blocks: BlockTable, features: SessionFeatures) throws(WireError) {
    try bytes.withBytes(0..<header.summedByteCount) { (bytes) throws(WireError) in
      try body.decode(bytes, header: header, blocks: blocks, features: features)
    }
  }

  // MARK: Decoding

  /// Decodes the parts that are encoded; in the order in which they were encoded, which a history needs.
  func decode(with codec: any FrameCodec) throws(CodecError) {
    if header.flags.contains(.dataEncoded) {
      try decoded.withMutableBytes(0..<header.dataDecodedByteCount) { (target) throws(CodecError) in
        try bytes.withBytes(body.data) { (source) throws(CodecError) in try codec.decode(source, into: &target) }
      }
    }
    if header.flags.contains(.deltaEncoded) {
      try decoded.withMutableBytes(deltaPlace) { (target) throws(CodecError) in
        try bytes.withBytes(body.delta) { (source) throws(CodecError) in try codec.decode(source, into: &target) }
      }
    }
  }

  private var deltaPlace: Range<Int> {
    header.dataDecodedByteCount..<header.dataDecodedByteCount + header.deltaDecodedByteCount
  }

  /// Says that decoding has ended, to the thread that applies.
  func finish(_ failure: CodecError?) {
    self.failure = failure
    state.store(true, ordering: .releasing)  // Pairs with the acquire in isDecoded.
  }

  /// Whether whoever had it to decode is done.
  var isDecoded: Bool { state.load(ordering: .acquiring) }

  /// The data part, decoded.
  /// - Throws: what decoding threw.
  func withData(_ use: (RawSpan) throws(LaneError) -> Void) throws(LaneError) {
    if let failure { throw .codec(failure) }
    guard header.flags.contains(.dataEncoded) else { return try bytes.withBytes(body.data, use) }
    try decoded.withBytes(0..<header.dataDecodedByteCount, use)
  }

  /// The delta part, decoded.
  /// - Throws: what decoding threw.
  func withDeltas(_ use: (RawSpan) throws(LaneError) -> Void) throws(LaneError) {
    if let failure { throw .codec(failure) }
    guard header.flags.contains(.deltaEncoded) else { return try bytes.withBytes(body.delta, use) }
    try decoded.withBytes(deltaPlace, use)
  }
}
