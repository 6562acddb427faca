// SPDX-License-Identifier: Apache-2.0
import Glibc
import HostSystem
import PageModel

/// Memory that several threads go over at once, with small or huge pages; every page has been touched.
///
/// Threads that write take parts that do not overlap; that is the caller's to arrange.
@safe final class Region: @unchecked Sendable {
  /// The pages that the memory is made of.
  enum Paging: String, CaseIterable {
    /// 4 KiB, also where the kernel would rather have huge ones.
    case small
    /// Transparent huge pages, as far as the kernel has them to give.
    case huge
  }

  private let buffer: PageBuffer

  init(byteCount: Int, _ paging: Paging) throws {
    buffer = try PageBuffer(byteCount: max(1, byteCount))
    // SAFETY: advice on the whole mapping that `buffer` owns; refused, it changes nothing.
    _ = unsafe madvise(buffer.unsafeBase, buffer.byteCount, paging == .huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE)
    for at in stride(from: 0, to: byteCount, by: PageGeometry.pageByteCount) {
      write(at..<at + 1) { $0.storeBytes(of: 0, as: UInt8.self) }
    }
  }

  convenience init(pageCount: Int, _ paging: Paging) throws {
    try self.init(byteCount: pageCount * PageGeometry.pageByteCount, paging)
  }

  func read<Result, Failure: Error>(
    _ bytes: Range<Int>, _ body: (RawSpan) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try buffer.withBytes(bytes, body)
  }

  func write<Result, Failure: Error>(
    _ bytes: Range<Int>, _ body: (inout MutableRawSpan) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    precondition(bytes.lowerBound >= 0 && bytes.upperBound <= buffer.byteCount, "range leaves the region")
    // SAFETY: inside the mapping by the precondition; who calls keeps other threads out of these bytes.
    var span = unsafe MutableRawSpan(_unsafeStart: buffer.unsafeBase + bytes.lowerBound, byteCount: bytes.count)
    return try body(&span)
  }

  /// Bytes of this process's anonymous memory that lie in huge pages.
  static var hugeByteCount: Int {
    let lines = (HostMemory.firstBytes(of: "/proc/self/smaps_rollup") ?? "").split(separator: "\n")
    let line = lines.first { $0.hasPrefix("AnonHugePages:") }
    return (line.flatMap { Int($0.filter(\.isNumber)) } ?? 0) << 10
  }
}

extension Range<Int> {
  /// The bytes of a range of pages.
  var bytesOfPages: Range<Int> { lowerBound * PageGeometry.pageByteCount..<upperBound * PageGeometry.pageByteCount }
}

extension Int {
  /// The bytes of page `self`.
  var bytesOfPage: Range<Int> { (self..<self + 1).bytesOfPages }
}

extension MutableRawSpan {
  /// Copies `source`, which must fit, to the start.
  mutating func copyBytes(of source: RawSpan) {
    precondition(source.byteCount <= byteCount, "the copy would not fit")
    // SAFETY: source.count bytes into a span that holds as many, checked above; the write is exclusive.
    unsafe source.withUnsafeBytes { from in
      unsafe withUnsafeMutableBytes { to in unsafe to.copyMemory(from: from) }
    }
  }
}

extension RawSpan {
  /// Whether both have the same bytes.
  func hasSameBytes(as other: RawSpan) -> Bool {
    guard byteCount == other.byteCount else { return false }
    return unsafe withUnsafeBytes { mine in
      unsafe other.withUnsafeBytes { theirs in
        guard let mine = mine.baseAddress, let theirs = theirs.baseAddress else { return true }
        // SAFETY: both spans hold byteCount bytes.
        return unsafe memcmp(mine, theirs, byteCount) == 0
      }
    }
  }
}
