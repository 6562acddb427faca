// SPDX-License-Identifier: Apache-2.0
import Glibc
import PageCodecs

/// Feeds any bytes to a codec's decoder. Shared by the corpus tests and the fuzzers.
///
/// The first three bytes, a little-endian number, set the size to decode to (1 to 786432 bytes, a frame's most); the
/// rest is decoded. Source and destination end at an unreadable page, so that a codec which runs past either dies,
/// and the bytes before the destination are compared afterwards.
final class CodecDriver {
  /// What three bytes can ask for.
  static let decodedByteCountMax = 192 * 4096
  private static let sourceByteCountMax = 1 << 20

  private let codec: any FrameCodec
  private let source = GuardedMemory(capacity: CodecDriver.sourceByteCountMax)
  private let destination = GuardedMemory(capacity: CodecDriver.decodedByteCountMax)
  private let encoded = GuardedMemory(capacity: CodecDriver.decodedByteCountMax)

  init(_ codec: any FrameCodec) { self.codec = codec }

  convenience init(_ type: any FrameCodec.Type) throws(CodecError) {
    self.init(try type.init(level: type.identity.defaultLevel))
  }

  /// - Returns: nil if the bytes were refused by a thrown error or decoded within bounds, else what was wrong.
  func run(_ input: [UInt8]) -> String? {
    guard input.count >= 3, input.count - 3 <= Self.sourceByteCountMax else { return nil }
    let wanted = Int(input[0]) | Int(input[1]) << 8 | Int(input[2]) << 16
    let byteCount = 1 + wanted % Self.decodedByteCountMax
    let payload = Array(input.dropFirst(3))
    guard let first = decode(payload, byteCount: byteCount) else { return destination.problem(byteCount) }
    if let problem = destination.problem(byteCount) { return problem }
    // What was accepted must survive its own encoder.
    (codec as? any HistoryCodec)?.restart()
    let length = source.withTail(byteCount, setTo: first) { from in
      encoded.withTail(byteCount) { codec.encode(from.bytes, into: &$0) }
    }
    if let problem = encoded.problem(byteCount) { return problem }
    guard let length else { return nil }
    let again = decode(Array(encoded.tail(byteCount).prefix(length)), byteCount: byteCount)
    return again == first ? nil : "what was decoded does not survive encoding and decoding"
  }

  private func decode(_ payload: [UInt8], byteCount: Int) -> [UInt8]? {
    (codec as? any HistoryCodec)?.restart()
    let isDecoded = source.withTail(payload.count, setTo: payload) { from in
      destination.withTail(byteCount) { to in
        do throws(CodecError) { try codec.decode(from.bytes, into: &to) } catch { return false }
        return true
      }
    }
    return isDecoded ? destination.tail(byteCount) : nil
  }
}

/// Memory that ends at a page which nobody may touch, with a pattern in front of the part in use.
@safe final class GuardedMemory {
  private static let pattern: UInt8 = 0xa5
  private static let patternByteCount = 64
  private static let pageByteCount = 4096

  private let base: UnsafeMutableRawPointer
  private let end: Int

  init(capacity: Int) {
    let pages = (capacity + Self.patternByteCount + Self.pageByteCount - 1) / Self.pageByteCount
    end = pages * Self.pageByteCount
    // SAFETY: a new mapping of our own, one page longer than what is used.
    let mapped = unsafe mmap(
      nil, end + Self.pageByteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let mapped = unsafe mapped, unsafe mapped != MAP_FAILED,
      unsafe mprotect(mapped + end, Self.pageByteCount, PROT_NONE) == 0
    else { fatalError("cannot map memory: \(errno)") }
    unsafe base = mapped
  }

  deinit { unsafe munmap(base, end + Self.pageByteCount) }

  /// The last `count` bytes, after the pattern in front of them has been set.
  func withTail<Value>(
    _ count: Int, setTo content: [UInt8]? = nil, _ body: (inout MutableRawSpan) -> Value
  ) -> Value {
    precondition(count >= 0 && count + Self.patternByteCount <= end, "the memory is as large as its user needs")
    precondition(content.map { $0.count == count } ?? true, "the content fills the tail")
    // SAFETY: within the mapping by the preconditions.
    unsafe memset(base + (end - count - Self.patternByteCount), CInt(Self.pattern), Self.patternByteCount)
    let tail = unsafe UnsafeMutableRawBufferPointer(start: base + (end - count), count: count)
    if let content { unsafe tail.copyBytes(from: content) }
    var span = unsafe MutableRawSpan(_unsafeBytes: tail)
    return body(&span)
  }

  /// A copy of the last `count` bytes.
  func tail(_ count: Int) -> [UInt8] {
    // SAFETY: as above.
    unsafe Array(UnsafeRawBufferPointer(start: base + (end - count), count: count))
  }

  /// What is wrong with the pattern in front of the last `count` bytes, or nil.
  func problem(_ count: Int) -> String? {
    let front = tail(count + Self.patternByteCount).prefix(Self.patternByteCount)
    return front.allSatisfy { $0 == Self.pattern } ? nil : "bytes before the destination were overwritten"
  }
}
