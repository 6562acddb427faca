// SPDX-License-Identifier: Apache-2.0
import CReferences

/// The plain loops that kernels are compared with, over pages of regions.
enum References {
  /// What ``read(_:_:)`` loads with.
  static var readLabel: String { ref_reads_with_avx2() ? "avx2" : "64-bit words" }

  static func read(_ region: Region, _ pages: Range<Int>) -> UInt64 {
    // SAFETY: here and below, the C loops stay within whole pages, which is what the spans hold, and keep nothing.
    region.read(pages.bytesOfPages) { span in
      unsafe span.withUnsafeBytes { unsafe ref_read($0.baseAddress, $0.count) }
    }
  }

  /// Copies pages to the same place in `target`.
  static func copyPages(_ source: Region, _ target: Region, _ pages: Range<Int>) -> UInt64 {
    source.read(pages.bytesOfPages) { from in
      target.write(pages.bytesOfPages) { to in
        unsafe from.withUnsafeBytes { from in
          unsafe to.withUnsafeMutableBytes { to in
            unsafe ref_copy_pages(to.baseAddress, from.baseAddress, pages.count)
          }
        }
      }
    }
    return UInt64(pages.count)
  }

  /// - Returns: how many pages are equal.
  static func equalPages(_ a: Region, _ b: Region, _ pages: Range<Int>) -> UInt64 {
    a.read(pages.bytesOfPages) { a in
      b.read(pages.bytesOfPages) { b in
        unsafe a.withUnsafeBytes { a in
          unsafe b.withUnsafeBytes { b in
            unsafe UInt64(ref_equal_pages(a.baseAddress, b.baseAddress, pages.count))
          }
        }
      }
    }
  }

  /// - Returns: how many pages are zero.
  static func zeroPages(_ region: Region, _ pages: Range<Int>) -> UInt64 {
    region.read(pages.bytesOfPages) { span in
      unsafe span.withUnsafeBytes { unsafe UInt64(ref_zero_pages($0.baseAddress, pages.count)) }
    }
  }

  /// Drops the bytes from every cache.
  static func evict(_ region: Region, _ bytes: Range<Int>) {
    region.read(bytes) { span in
      unsafe span.withUnsafeBytes { unsafe ref_evict($0.baseAddress, $0.count) }
    }
  }
}
