// SPDX-License-Identifier: Apache-2.0
import PageCodecs

/// Calls `body` with the bytes of `array`.
func withSpan<Result>(_ array: [UInt8], _ body: (RawSpan) throws -> Result) rethrows -> Result {
  // SAFETY: the span does not outlive the closure.
  unsafe try array.withUnsafeBytes { try body(unsafe RawSpan(_unsafeBytes: $0)) }
}

/// Room for a codec's output, with bytes around it that must stay as they are.
struct GuardedRoom {
  private static let guardByte: UInt8 = 0xa5
  private static let guardCount = 64
  private var bytes: [UInt8]
  let byteCount: Int

  init(_ byteCount: Int) {
    self.byteCount = byteCount
    bytes = [UInt8](repeating: Self.guardByte, count: byteCount + 2 * Self.guardCount)
  }

  var range: Range<Int> { Self.guardCount..<Self.guardCount + byteCount }

  var content: ArraySlice<UInt8> { bytes[range] }

  /// Whether nothing was written before or after the room.
  var isIntact: Bool {
    bytes[..<range.lowerBound].allSatisfy { $0 == Self.guardByte }
      && bytes[range.upperBound...].allSatisfy { $0 == Self.guardByte }
  }

  mutating func withSpan<Result>(_ body: (inout MutableRawSpan) throws -> Result) rethrows -> Result {
    let range = self.range
    // SAFETY: the slice is bounds-checked, and the span does not outlive the closure.
    return unsafe try bytes.withUnsafeMutableBytes { bytes in
      let slice = unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[range])
      var span = unsafe MutableRawSpan(_unsafeBytes: slice)
      return try body(&span)
    }
  }
}

/// Room that the output of any codec for `byteCount` bytes fits into.
func amplyRoom(for byteCount: Int) -> Int { byteCount + byteCount / 100 + 1024 }

// A codec with a history begins a new one for each of these: so it is held to what the others are held to.
extension FrameCodec {
  /// Encodes into `room`; nil if it does not fit.
  func encode(_ source: [UInt8], room: inout GuardedRoom) -> [UInt8]? {
    (self as? any HistoryCodec)?.restart()
    let written = PageCodecsTests.withSpan(source) { source in room.withSpan { encode(source, into: &$0) } }
    return written.map { Array(room.content.prefix($0)) }
  }

  /// Encodes into more room than is needed.
  func encode(_ source: [UInt8]) -> [UInt8]? {
    var room = GuardedRoom(amplyRoom(for: source.count))
    return encode(source, room: &room)
  }

  /// Decodes into `room`.
  func decode(_ encoded: [UInt8], room: inout GuardedRoom) throws(CodecError) {
    (self as? any HistoryCodec)?.restart()
    let failure = PageCodecsTests.withSpan(encoded) { encoded -> CodecError? in
      room.withSpan { destination in
        do throws(CodecError) {
          try decode(encoded, into: &destination)
          return nil
        } catch { return error }
      }
    }
    if let failure { throw failure }
  }

  /// Decodes to `byteCount` bytes.
  func decode(_ encoded: [UInt8], byteCount: Int) throws(CodecError) -> [UInt8] {
    var room = GuardedRoom(byteCount)
    try decode(encoded, room: &room)
    return Array(room.content)
  }
}
