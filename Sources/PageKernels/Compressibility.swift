// SPDX-License-Identifier: Apache-2.0
import CPageKernels

/// Tells pages that no codec will shrink, at a small part of what trying would cost.
public enum Compressibility {
  /// Of 256 random bytes, about 162 have a value of their own, and one page in 30 000 has fewer than this. Text has 50,
  /// programs and heaps 60 to 110; what was compressed or encrypted is as random as random.
  static let randomValueCount: UInt32 = 140

  /// Whether a page's bytes look random, from a sample of 256.
  /// - Parameter page: exactly 4096 bytes.
  public static func looksRandom(page: RawSpan) -> Bool {
    precondition(page.byteCount == Int(PK_PAGE_BYTES), "a page is 4096 bytes")
    // SAFETY: the probe reads one page, which is what the span holds, and keeps nothing.
    return unsafe page.withUnsafeBytes { bytes in
      guard let base = bytes.baseAddress else { return false }
      return unsafe pk_sampled_values(base) >= randomValueCount
    }
  }

  /// Whether all of these pages look random. Ends with the first that does not.
  /// - Parameter pages: whole pages.
  public static func looksRandom(pages: RawSpan) -> Bool {
    let pageByteCount = Int(PK_PAGE_BYTES)
    for start in stride(from: 0, to: pages.byteCount, by: pageByteCount)
    where !looksRandom(page: pages.extracting(start..<start + pageByteCount)) { return false }
    return pages.byteCount > 0
  }
}
