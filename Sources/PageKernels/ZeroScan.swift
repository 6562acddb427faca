// SPDX-License-Identifier: Apache-2.0
import CPageKernels

/// Finds pages whose bytes are all zero.
public enum ZeroScan {
  /// Whether every byte of a page is zero.
  /// - Parameter page: exactly 4096 bytes.
  public static func isZero(page: RawSpan, tier: KernelTier = .best) -> Bool {
    precondition(page.byteCount == Int(PK_PAGE_BYTES), "a page is 4096 bytes")
    // SAFETY: the kernel reads one page, which is what the span holds, and keeps nothing.
    return unsafe page.withUnsafeBytes { bytes in
      guard let base = bytes.baseAddress else { return true }
      return unsafe pk_page_is_zero(tier.raw, base)
    }
  }

  /// The zero pages among `wanted`, as a mask.
  /// - Parameters:
  ///   - span: up to 64 pages; page *i* begins at byte 4096·*i*.
  ///   - wanted: the pages to examine; none may lie past the end of `span`. No other page is read.
  public static func mask(span: RawSpan, wanted: UInt64, tier: KernelTier = .best) -> UInt64 {
    precondition(Self.highestPage(wanted) * Int(PK_PAGE_BYTES) <= span.byteCount, "a wanted page lies past the span")
    guard wanted != 0 else { return 0 }
    // SAFETY: only wanted pages are read, and the precondition keeps them inside the span.
    return unsafe span.withUnsafeBytes { bytes in
      guard let base = bytes.baseAddress else { return 0 }
      return unsafe pk_zero_mask(tier.raw, base, wanted)
    }
  }

  /// One past the highest page in `mask`.
  static func highestPage(_ mask: UInt64) -> Int { UInt64.bitWidth - mask.leadingZeroBitCount }
}
