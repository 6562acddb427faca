// SPDX-License-Identifier: Apache-2.0
import Glibc

let pageByteCount = 4096

/// Calls `body` with the bytes of `array`, or those in `range`.
func withSpan<Result>(_ array: [UInt8], _ range: Range<Int>? = nil, _ body: (RawSpan) throws -> Result) rethrows
  -> Result
{
  // SAFETY: the slice is bounds-checked, and the span does not outlive the closure.
  unsafe try array.withUnsafeBytes { bytes in
    let slice = unsafe UnsafeRawBufferPointer(rebasing: bytes[range ?? 0..<bytes.count])
    return try body(unsafe RawSpan(_unsafeBytes: slice))
  }
}

/// Calls `body` with the bytes of `array` that are in `range`, for writing.
func withMutableSpan<Result>(
  _ array: inout [UInt8], _ range: Range<Int>, _ body: (inout MutableRawSpan) throws -> Result
) rethrows -> Result {
  // SAFETY: as above.
  unsafe try array.withUnsafeMutableBytes { bytes in
    let slice = unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[range])
    var span = unsafe MutableRawSpan(_unsafeBytes: slice)
    return try body(&span)
  }
}

/// Whether two arrays hold the same bytes; `==` takes its time in a debug build.
func isSame(_ left: [UInt8], _ right: [UInt8]) -> Bool {
  // SAFETY: both hold `count` bytes.
  unsafe left.count == right.count && memcmp(left, right, left.count) == 0
}

/// Whole pages that begin right after, and end right before, memory that may not be touched: an access that leaves
/// them, at either end, kills the process.
@safe final class GuardedPages {
  private let mapping: UnsafeMutableRawPointer
  private let pageCount: Int

  init(pageCount: Int) {
    self.pageCount = pageCount
    let byteCount = (pageCount + 2) * pageByteCount
    let base = unsafe mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let base = unsafe base, unsafe base != UnsafeMutableRawPointer(bitPattern: -1) else {
      fatalError("mmap: \(errno)")
    }
    unsafe mapping = base
    protect(page: -1)
    protect(page: pageCount)
  }

  convenience init(_ content: [UInt8]) {
    self.init(pageCount: content.count / pageByteCount)
    withMutableSpan { span in
      // SAFETY: both hold the same number of bytes.
      unsafe span.withUnsafeMutableBytes { to in unsafe content.withUnsafeBytes { unsafe to.copyMemory(from: $0) } }
    }
  }

  deinit { _ = unsafe munmap(mapping, (pageCount + 2) * pageByteCount) }

  /// Makes a page one that may not be touched.
  func protect(page: Int) {
    precondition(unsafe mprotect(mapping + (page + 1) * pageByteCount, pageByteCount, PROT_NONE) == 0, "mprotect")
  }

  subscript(offset: Int) -> UInt8 {
    get { unsafe mapping.load(fromByteOffset: pageByteCount + offset, as: UInt8.self) }
    set { unsafe mapping.storeBytes(of: newValue, toByteOffset: pageByteCount + offset, as: UInt8.self) }
  }

  func withSpan<Result>(_ body: (RawSpan) throws -> Result) rethrows -> Result {
    try body(unsafe RawSpan(_unsafeStart: mapping + pageByteCount, byteCount: pageCount * pageByteCount))
  }

  func withMutableSpan<Result>(_ body: (inout MutableRawSpan) throws -> Result) rethrows -> Result {
    var span = unsafe MutableRawSpan(_unsafeStart: mapping + pageByteCount, byteCount: pageCount * pageByteCount)
    return try body(&span)
  }
}
