// SPDX-License-Identifier: Apache-2.0

/// The sizes that the whole engine is built on: the wire, the bitmaps and the kernels share them.
public enum PageGeometry {
  /// Bytes in a page, the unit of dirtiness.
  public static let pageByteCount = 4096
  /// Pages in a span: exactly one word of a bitmap.
  public static let pagesPerSpan = 64
  /// Bytes in a span, the unit of work and of addressing on the wire (256 KiB).
  public static let spanByteCount = pageByteCount * pagesPerSpan
  /// Spans in a stripe: a stripe (2 MiB, one huge page) stays on one lane for the whole migration.
  public static let spansPerStripe = 8
  /// Bytes in a stripe (2 MiB).
  public static let stripeByteCount = spanByteCount * spansPerStripe
}

/// A set of pages of one span: bit *i* is page *i*, least significant bit first.
public typealias PageMask = UInt64

extension PageMask {
  /// The lowest `count` pages of a span (0...64).
  @inlinable public static func lowest(_ count: Int) -> PageMask {
    count >= PageGeometry.pagesPerSpan ? .max : (1 << PageMask(count)) &- 1
  }

  /// Calls `body` with each maximal run of set bits, ascending, as a range of page numbers within the span.
  @inlinable public func forEachRun<Failure: Error>(_ body: (Range<Int>) throws(Failure) -> Void) throws(Failure) {
    var rest = self
    while rest != 0 {
      let start = rest.trailingZeroBitCount
      let length = (~(rest >> PageMask(start))).trailingZeroBitCount
      try body(start..<start + length)
      rest &= ~(PageMask.lowest(length) << PageMask(start))
    }
  }
}
