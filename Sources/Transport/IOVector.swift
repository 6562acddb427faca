// SPDX-License-Identifier: Apache-2.0
import CHostSystem
import Glibc
public import SystemPackage

/// The parts of one vectored write or read, kept in room that is allocated once.
///
/// Belongs to one thread. The memory of every part must stay valid until the call that it is given to has returned:
/// ``Connection/send(_:zeroCopy:giveUp:)`` or ``Connection/receive(into:)-(IOVector)``.
@safe public final class IOVector {
  /// Most parts of one call.
  public static let capacity = Int(HS_IOVEC_MAX)

  private let parts: UnsafeMutablePointer<hs_iovec>
  /// Which parts may be sent without a copy.
  private var lasting = [Bool](repeating: false, count: capacity)
  private var count = 0
  private var first = 0
  /// Bytes still to be moved.
  public private(set) var remainingByteCount = 0
  /// Whether parts have been added that may be sent without a copy.
  private(set) var hasLasting = false

  /// An empty vector.
  public init() {
    unsafe parts = .allocate(capacity: Self.capacity)
    unsafe parts.initialize(repeating: hs_iovec(base: nil, byte_count: 0), count: Self.capacity)
  }

  deinit { unsafe parts.deallocate() }

  /// Parts that still have room.
  public var freeCount: Int { Self.capacity - count }

  /// Whether another part has room.
  public var isFull: Bool { count == Self.capacity }

  /// Adds a part that is read from; the vector must not be full.
  /// - Parameter isLasting: its memory stays as it is beyond the call, until ``ZeroCopy/finish()`` has returned.
  @unsafe public func append(_ bytes: UnsafeRawBufferPointer, isLasting: Bool = false) {
    let index = count
    unsafe append(UnsafeMutableRawBufferPointer(mutating: bytes))
    guard isLasting, count > index else { return }
    lasting[index] = true
    hasLasting = true
  }

  /// Adds a part; the vector must not be full.
  @unsafe public func append(_ bytes: UnsafeMutableRawBufferPointer) {
    precondition(!isFull, "the vector is full")
    guard bytes.count > 0 else { return }
    unsafe parts[count] = unsafe hs_iovec(base: bytes.baseAddress, byte_count: bytes.count)
    lasting[count] = false
    count += 1
    remainingByteCount += bytes.count
  }

  /// Forgets all parts.
  public func removeAll() {
    count = 0
    first = 0
    remainingByteCount = 0
    hasLasting = false
  }

  /// One sendmsg(2) of what remains, or of its first `byteCountMax` bytes: bytes taken, or a negated errno.
  func transmit(on descriptor: CInt, waits: Bool = true, byteCountMax: Int = .max) -> Int {
    let how = waits ? 0 : HS_SEND_AT_ONCE
    guard byteCountMax < remainingByteCount else {
      // SAFETY: parts first..<count were appended by a caller that keeps their memory valid.
      return unsafe hs_send_vector(descriptor, parts + first, count - first, how)
    }
    var end = first
    var byteCount = 0
    while unsafe byteCount + parts[end].byte_count < byteCountMax {
      unsafe byteCount += parts[end].byte_count
      end += 1
    }
    // The last one goes in part.
    let whole = unsafe parts[end].byte_count
    unsafe parts[end].byte_count = byteCountMax - byteCount
    defer { unsafe parts[end].byte_count = whole }
    // SAFETY: as above.
    return unsafe hs_send_vector(descriptor, parts + first, end + 1 - first, how)
  }

  /// Writes every part to a file, a pipe or a socket (writev), and empties the vector.
  ///
  /// A broken pipe is an error only where SIGPIPE is ignored; of a ``Connection`` it always is.
  public func write(to descriptor: FileDescriptor) throws(Errno) {
    while remainingByteCount > 0 {
      // SAFETY: parts first..<count were appended by a caller that keeps their memory valid; hs_iovec is laid out as iovec.
      let taken = unsafe writev(
        descriptor.rawValue, UnsafeRawPointer(parts + first).assumingMemoryBound(to: iovec.self), CInt(count - first))
      if taken < 0 {
        if errno == EINTR { continue }
        throw Errno(rawValue: errno)
      }
      consume(taken)
    }
    removeAll()
  }

  /// Whether the next part may be sent without a copy.
  var isNextLasting: Bool { first < count && lasting[first] }

  /// One sendmsg(2) of the next parts that are alike in that: bytes taken, or a negated errno.
  func transmitAlike(on descriptor: CInt, waits: Bool, zeroCopy: Bool) -> Int {
    var end = first
    while end < count, lasting[end] == lasting[first] { end += 1 }
    var how = waits ? 0 : HS_SEND_AT_ONCE
    if end < count { how |= HS_SEND_MORE }
    if zeroCopy { how |= HS_SEND_ZERO_COPY }
    // SAFETY: as above; who appended a part as lasting keeps it as it is until its completion has come.
    return unsafe hs_send_vector(descriptor, parts + first, end - first, how)
  }

  /// One recvmsg(2) into what remains: bytes given, 0 at the end of the stream, or a negated errno.
  func fill(from descriptor: CInt) -> Int {
    // SAFETY: as above; who appended a part to receive into lets it be written.
    unsafe hs_receive_vector(descriptor, parts + first, count - first)
  }

  /// Moves past `byteCount` bytes.
  func consume(_ byteCount: Int) {
    remainingByteCount -= byteCount
    var left = byteCount
    while left > 0, unsafe left >= parts[first].byte_count {
      unsafe left -= parts[first].byte_count
      first += 1
    }
    if left > 0 {
      unsafe parts[first].base = unsafe parts[first].base.advanced(by: left)
      unsafe parts[first].byte_count -= left
    }
  }
}
