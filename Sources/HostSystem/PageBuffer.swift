// SPDX-License-Identifier: Apache-2.0
import CHostSystem
public import SystemPackage

/// Page-aligned zeroed memory that one owner holds: staging, ring slots, receive buffers.
///
/// Allocated once, outside any hot path. Pages come into being at first touch, on the NUMA node of the thread
/// that touches them first (allocate anywhere, touch where it will be used), unless a node is named.
@safe public struct PageBuffer: ~Copyable, @unchecked Sendable {
  @usableFromInline let base: UnsafeMutableRawPointer
  /// Usable bytes.
  public let byteCount: Int

  /// Maps `byteCount` bytes (rounded up to whole pages by the kernel).
  /// - Parameters:
  ///   - hugePages: ask for transparent huge pages: for what is large and will be full.
  ///   - node: the NUMA node that its pages are to come from while that has any; nil: that of the thread that touches
  ///     them first. Where the kernel refuses, it is as if nil.
  /// - Throws: `Errno` of mmap(2).
  public init(byteCount: Int, hugePages: Bool = false, node: Int? = nil) throws(Errno) {
    precondition(byteCount > 0, "an empty buffer has no use")
    guard let base = unsafe hs_map_anonymous(byteCount) else { throw Errno.noMemory }
    // Refused where the kernel was built without them: then pages are small, and that is all.
    if hugePages { _ = unsafe hs_advise_huge_pages(base, byteCount) }
    if let node { _ = unsafe hs_memory_prefer_node(base, byteCount, CInt(clamping: node)) }
    unsafe self.base = base
    self.byteCount = byteCount
  }

  deinit {
    // SAFETY: `base` was mapped with this size by init and is unmapped once.
    _ = unsafe hs_unmap(base, byteCount)
  }

  /// Calls `body` with the bytes of `range`, for reading.
  @inlinable public func withBytes<Result, Failure: Error>(
    _ range: Range<Int>, _ body: (RawSpan) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    precondition(range.lowerBound >= 0 && range.upperBound <= byteCount, "range leaves the buffer")
    // SAFETY: inside the mapping by the precondition; the mapping lives as long as self.
    return try body(unsafe RawSpan(_unsafeStart: base + range.lowerBound, byteCount: range.count))
  }

  /// Calls `body` with the bytes of `range`, for writing.
  @inlinable public mutating func withMutableBytes<Result, Failure: Error>(
    _ range: Range<Int>, _ body: (inout MutableRawSpan) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    precondition(range.lowerBound >= 0 && range.upperBound <= byteCount, "range leaves the buffer")
    // SAFETY: inside the mapping by the precondition; exclusive because self is.
    var span = unsafe MutableRawSpan(_unsafeStart: base + range.lowerBound, byteCount: range.count)
    return try body(&span)
  }

  /// The start of the buffer, for types that share it between threads under a protocol of their own.
  @unsafe public var unsafeBase: UnsafeMutableRawPointer { unsafe base }
}
