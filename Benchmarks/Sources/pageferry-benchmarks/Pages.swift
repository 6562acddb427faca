// SPDX-License-Identifier: Apache-2.0
import Glibc
import HostSystem
import PageModel

/// Page-aligned memory that cases read and write.
///
/// A class, so that closures can share it; a case takes its span once and loops inside, so that this costs nothing.
final class Pages {
  private var buffer: PageBuffer
  let byteCount: Int

  /// Zero pages.
  init(count: Int) throws {
    byteCount = count * PageGeometry.pageByteCount
    buffer = try PageBuffer(byteCount: byteCount)
    // Every page is written once: untouched ones are all the same zero page of the kernel, which stays in the cache.
    fill { span in
      for page in 0..<count { span.storeBytes(of: 0, toByteOffset: page * PageGeometry.pageByteCount, as: UInt8.self) }
    }
  }

  /// Pages that are zero but for the first byte of those for which `hasData` says yes.
  convenience init(count: Int, where hasData: @escaping (Int) -> Bool) throws {
    try self.init(count: count)
    fill { span in
      for page in 0..<count where hasData(page) {
        span.storeBytes(of: 1, toByteOffset: page * PageGeometry.pageByteCount, as: UInt8.self)
      }
    }
  }

  func read<Result, Failure: Error>(_ body: (RawSpan) throws(Failure) -> Result) throws(Failure) -> Result {
    try buffer.withBytes(0..<byteCount, body)
  }

  func write<Result, Failure: Error>(
    _ body: (inout MutableRawSpan) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try buffer.withMutableBytes(0..<byteCount, body)
  }

  func fill(_ body: (inout MutableRawSpan) -> Void) { write(body) }

  /// The reference of cases that move or read memory: libc's copy of the same bytes.
  @inline(never)
  static func copy(_ source: Pages, _ target: Pages, _ times: Int) -> UInt64 {
    precondition(source.byteCount <= target.byteCount, "the copy would not fit")
    return source.read { from in
      target.write { to in
        // SAFETY: both hold source.byteCount bytes, and are two mappings.
        unsafe from.withUnsafeBytes { from in
          unsafe to.withUnsafeMutableBytes { to in
            guard let source = from.baseAddress, let target = to.baseAddress else { return 0 }
            for _ in 0..<times { unsafe memcpy(target, source, from.count) }
            return unsafe UInt64(to[0])
          }
        }
      }
    }
  }
}

extension Variant {
  /// `memcpy` of `pageCount` pages.
  static func memcpy(pageCount: Int) -> Variant {
    .timed("memcpy") {
      let source = try Pages(count: pageCount)
      let target = try Pages(count: pageCount)
      return { Pages.copy(source, target, $0) }
    }
  }
}
