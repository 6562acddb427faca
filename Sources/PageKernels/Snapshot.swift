// SPDX-License-Identifier: Apache-2.0
import CPageKernels

/// Copies pages out of memory that may be changing, and classifies them by the bytes that were copied.
public enum Snapshot {
  /// What a snapshot found.
  public struct Result: Equatable, Sendable {
    /// Wanted pages that were zero; they take no room in the staging buffer.
    public let zeroMask: UInt64
    /// Pages copied, packed in ascending order from the start of the staging buffer.
    public let copiedPageCount: Int

    /// A result, for sources that classify by other means.
    public init(zeroMask: UInt64, copiedPageCount: Int) {
      self.zeroMask = zeroMask
      self.copiedPageCount = copiedPageCount
    }
  }

  /// Copies the pages of `wanted` that are not zero from `span` into `staging`.
  /// - Parameters:
  ///   - span: up to 64 pages of guest memory; the guest may write to them meanwhile.
  ///   - wanted: the pages to take; none may lie past the end of `span`.
  ///   - staging: room for every wanted page; must not overlap `span`.
  public static func take(
    span: RawSpan, wanted: UInt64, into staging: inout MutableRawSpan, tier: KernelTier = .best
  ) -> Result {
    precondition(
      ZeroScan.highestPage(wanted) * Int(PK_PAGE_BYTES) <= span.byteCount, "a wanted page lies past the span")
    precondition(wanted.nonzeroBitCount * Int(PK_PAGE_BYTES) <= staging.byteCount, "staging is too small")
    guard wanted != 0 else { return Result(zeroMask: 0, copiedPageCount: 0) }
    var zeroMask: UInt64 = 0
    // SAFETY: reads wanted pages of the span, writes at most popcount(wanted) pages of staging: both checked above.
    let copied = unsafe span.withUnsafeBytes { from in
      unsafe staging.withUnsafeMutableBytes { to in
        guard let source = from.baseAddress, let target = to.baseAddress else { return 0 }
        return unsafe pk_snapshot_span(tier.raw, source, wanted, target, &zeroMask)
      }
    }
    return Result(zeroMask: zeroMask, copiedPageCount: copied)
  }

  /// As `take(span:wanted:into:)`, and also the hash of each copied page.
  ///
  /// The hash is that of the bytes in `staging`, as ``PageHash/page(_:seed:tier:)`` has it: guest memory is read once.
  /// - Parameter hashes: room for every wanted page; the i-th is that of the i-th copied page.
  public static func take(
    span: RawSpan, wanted: UInt64, into staging: inout MutableRawSpan, hashes: inout MutableSpan<UInt64>, seed: UInt64,
    tier: KernelTier = .best
  ) -> Result {
    precondition(
      ZeroScan.highestPage(wanted) * Int(PK_PAGE_BYTES) <= span.byteCount, "a wanted page lies past the span")
    precondition(wanted.nonzeroBitCount * Int(PK_PAGE_BYTES) <= staging.byteCount, "staging is too small")
    precondition(wanted.nonzeroBitCount <= hashes.count, "too little room for hashes")
    guard wanted != 0 else { return Result(zeroMask: 0, copiedPageCount: 0) }
    var zeroMask: UInt64 = 0
    // SAFETY: as in take(); at most popcount(wanted) hashes are written.
    let copied = unsafe span.withUnsafeBytes { from in
      unsafe staging.withUnsafeMutableBytes { to in
        unsafe hashes.withUnsafeMutableBufferPointer { hashes in
          guard let source = from.baseAddress, let target = to.baseAddress, let hashes = hashes.baseAddress else {
            return 0
          }
          return unsafe pk_snapshot_hash_span(tier.raw, source, wanted, seed, target, &zeroMask, hashes)
        }
      }
    }
    return Result(zeroMask: zeroMask, copiedPageCount: copied)
  }

  /// Drops pages from a packed run, in place: those of the first `count` whose bit is set in `keep` move to the front.
  public static func keep(_ keep: UInt64, ofFirst count: Int, in pages: inout MutableRawSpan) {
    precondition(
      (0...Int(PK_SPAN_PAGES)).contains(count) && count * Int(PK_PAGE_BYTES) <= pages.byteCount,
      "at most 64 whole pages")
    // SAFETY: the kernel stays within `count` pages, which the span holds.
    unsafe pages.withUnsafeMutableBytes { bytes in
      guard let base = bytes.baseAddress else { return }
      _ = unsafe pk_compact_pages(base, count, keep)
    }
  }

  /// Drops zero pages from a packed run of pages, in place.
  ///
  /// For sources that can only be copied whole (`pread`): copy first, classify the copy, close the gaps.
  /// - Parameter pages: whole pages, at most 64.
  /// - Returns: bit *i* of `zeroMask` is the *i*-th page of the run.
  public static func dropZeroPages(from pages: inout MutableRawSpan, tier: KernelTier = .best) -> Result {
    let count = pages.byteCount / Int(PK_PAGE_BYTES)
    precondition(count <= Int(PK_SPAN_PAGES) && pages.byteCount == count * Int(PK_PAGE_BYTES), "at most 64 whole pages")
    guard count > 0 else { return Result(zeroMask: 0, copiedPageCount: 0) }
    let all: UInt64 = count == 64 ? .max : (1 << UInt64(count)) - 1
    // SAFETY: both kernels stay within `count` pages, which is what the span holds.
    return unsafe pages.withUnsafeMutableBytes { bytes in
      guard let base = bytes.baseAddress else { return Result(zeroMask: 0, copiedPageCount: 0) }
      let zeroMask = unsafe pk_zero_mask(tier.raw, base, all)
      guard zeroMask != 0 else { return Result(zeroMask: 0, copiedPageCount: count) }
      let kept = unsafe pk_compact_pages(base, count, all & ~zeroMask)
      return Result(zeroMask: zeroMask, copiedPageCount: kept)
    }
  }
}
