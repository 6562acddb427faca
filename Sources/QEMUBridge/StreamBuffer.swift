// SPDX-License-Identifier: Apache-2.0
import HostSystem
import SystemPackage

/// The window of a stream that a parser looks at: the element under way begins at 0, and is whole in one piece.
///
/// Bytes stay where the source has put them. Only what is left of an element that the buffer's end has cut is moved, once a
/// fill, and that is less than an element.
@safe struct StreamBuffer: ~Copyable {
  private let memory: PageBuffer
  private var source: any ByteSource
  /// Where the element begins, in the stream.
  private(set) var offset: UInt64 = 0
  private var first = 0
  private var last = 0
  private var isEnded = false

  /// With less room than this behind what has been read, the rest is moved to the front before the next read.
  private static let readByteCountMin = 64 << 10

  /// - Parameter byteCount: at least the largest element.
  init(_ source: any ByteSource, byteCount: Int) throws(StreamError) {
    do throws(Errno) { memory = try PageBuffer(byteCount: byteCount) } catch { throw .unreadable(offset: 0, error) }
    self.source = source
  }

  /// Bytes that have been read, from the element's first on.
  var byteCount: Int { last - first }

  /// Has at least `count` bytes of the element, if the stream goes on for so long.
  @inline(__always)
  mutating func fill(_ count: Int) throws(StreamError) -> Bool {
    if last - first >= count { return true }
    return try refill(count)
  }

  @inline(never)
  private mutating func refill(_ count: Int) throws(StreamError) -> Bool {
    precondition(count <= memory.byteCount, "an element is larger than the buffer")
    while last - first < count {
      if isEnded { return false }
      if memory.byteCount - first < count || memory.byteCount - last < min(Self.readByteCountMin, memory.byteCount / 4)
      {
        moveToFront()
      }
      // SAFETY: last <= byteCount, so the room lies in the buffer, which is exclusively ours.
      let room = unsafe UnsafeMutableRawBufferPointer(
        start: memory.unsafeBase + last, count: memory.byteCount - last)
      let got: Int
      do throws(Errno) { got = unsafe try source.read(into: room, needing: count - (last - first)) } catch {
        throw .unreadable(offset: offset + UInt64(last - first), error)
      }
      precondition(got >= 0 && got <= room.count, "a source gives no more than there is room for")
      last += got
      isEnded = got == 0
    }
    return true
  }

  private mutating func moveToFront() {
    guard first > 0 else { return }
    // SAFETY: both ranges lie in the buffer; memmove allows that they overlap.
    unsafe memory.unsafeBase.copyMemory(from: memory.unsafeBase + first, byteCount: last - first)
    last -= first
    first = 0
  }

  /// Goes on to what follows the first `count` bytes, which are there.
  @inline(__always)
  mutating func consume(_ count: Int) {
    precondition(count <= last - first, "only what has been read is consumed")
    offset += UInt64(count)
    first += count
    if first == last {
      first = 0
      last = 0
    }
  }

  /// The first `count` bytes, where they lie, until the next fill.
  @unsafe func bytes(_ range: Range<Int>) -> UnsafeRawBufferPointer {
    precondition(range.lowerBound >= 0 && range.upperBound <= last - first, "only what has been read is there")
    return unsafe UnsafeRawBufferPointer(start: memory.unsafeBase + first + range.lowerBound, count: range.count)
  }

  /// A copy, for what is kept.
  func array(_ range: Range<Int>) -> [UInt8] { unsafe Array(bytes(range)) }

  /// The big-endian number at `at`, which is there.
  @inline(__always)
  func load<Value: FixedWidthInteger & BitwiseCopyable>(_ at: Int, as _: Value.Type = Value.self) -> Value {
    precondition(at >= 0 && at + MemoryLayout<Value>.size <= last - first, "only what has been read is there")
    // SAFETY: inside what has been read; every bit pattern is a valid integer.
    return unsafe Value(bigEndian: (memory.unsafeBase + first + at).loadUnaligned(as: Value.self))
  }
}
