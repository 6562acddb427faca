// SPDX-License-Identifier: Apache-2.0
import CHostSystem

/// The parts of one vectored write or read, kept in room that is allocated once.
///
/// Belongs to one thread. The memory of every part must stay valid until the call that it is given to has returned:
/// ``Connection/send(_:giveUp:)-(IOVector,_)`` or ``Connection/receive(into:)-(IOVector)``.
@safe public final class IOVector {
  /// Most parts of one call.
  public static let capacity = Int(HS_IOVEC_MAX)

  private let parts: UnsafeMutablePointer<hs_iovec>
  private var count = 0
  private var first = 0
  /// Bytes still to be moved.
  public private(set) var remainingByteCount = 0

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
  @unsafe public func append(_ bytes: UnsafeRawBufferPointer) {
    unsafe append(UnsafeMutableRawBufferPointer(mutating: bytes))
  }

  /// Adds a part; the vector must not be full.
  @unsafe public func append(_ bytes: UnsafeMutableRawBufferPointer) {
    precondition(!isFull, "the vector is full")
    guard bytes.count > 0 else { return }
    unsafe parts[count] = unsafe hs_iovec(base: bytes.baseAddress, byte_count: bytes.count)
    count += 1
    remainingByteCount += bytes.count
  }

  /// Forgets all parts.
  public func removeAll() {
    count = 0
    first = 0
    remainingByteCount = 0
  }

  /// One sendmsg(2) of what remains: bytes taken, or a negated errno.
  func transmit(on descriptor: CInt, waits: Bool = true) -> Int {
    // SAFETY: parts first..<count were appended by a caller that keeps their memory valid.
    unsafe waits
      ? hs_send_vector(descriptor, parts + first, count - first)
      : hs_send_vector_at_once(descriptor, parts + first, count - first)
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
