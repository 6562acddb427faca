// SPDX-License-Identifier: Apache-2.0
import Glibc
public import PageModel
import Synchronization

/// A bitmap of one RAM block: one atomic word per span, bit *i* is page *i* of the span.
///
/// Used as the pending map (dirty pages still to send) and as the map of pages that a destination has written.
/// Any thread may insert; taking a span's word is atomic, so that each dirty page is claimed once.
@safe public final class SpanMap: @unchecked Sendable {
  private let words: UnsafeMutablePointer<Atomic<UInt64>>
  /// Spans in the map.
  public let spanCount: Int

  /// An empty map for `block`.
  public init(block: RAMBlock) {
    spanCount = block.spanCount
    // Untouched, it takes no room: a peer may declare a large block for nothing. Zeroed memory is an atomic 0 in each place.
    guard let zeroed = unsafe calloc(max(1, spanCount), MemoryLayout<Atomic<UInt64>>.stride) else {
      preconditionFailure("no memory for a map of \(spanCount) spans")
    }
    unsafe words = zeroed.assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  deinit { unsafe free(words) }

  private func word<Result>(_ span: Int, _ body: (borrowing Atomic<UInt64>) -> Result) -> Result {
    precondition(span >= 0 && span < spanCount, "span outside its block")
    // SAFETY: in bounds by the precondition; atomics may be used from any thread.
    return unsafe body(words[span])
  }

  // Relaxed everywhere: a word carries no other data with it. The engine's phases, and the rings between its
  // threads, order the map against the memory that it describes.

  /// Adds pages to a span.
  public func insert(_ pages: PageMask, span: Int) { word(span) { _ = $0.bitwiseOr(pages, ordering: .relaxed) } }

  /// Adds pages to a span, and returns those that were in it before.
  public func add(_ pages: PageMask, span: Int) -> PageMask {
    word(span) { $0.bitwiseOr(pages, ordering: .relaxed).oldValue }
  }

  /// Takes pages of a span out of the map.
  public func remove(_ pages: PageMask, span: Int) { word(span) { _ = $0.bitwiseAnd(~pages, ordering: .relaxed) } }

  /// Takes the pages of another map of the same block out of this one.
  public func subtract(_ other: SpanMap) {
    for span in 0..<min(spanCount, other.spanCount) {
      word(span) { _ = $0.bitwiseAnd(~other.pages(span: span), ordering: .relaxed) }
    }
  }

  /// The pages of a span.
  public func pages(span: Int) -> PageMask { word(span) { $0.load(ordering: .relaxed) } }

  /// Takes all pages of a span out of the map and returns them.
  public func take(span: Int) -> PageMask {
    guard pages(span: span) != 0 else { return 0 }
    return word(span) { $0.exchange(0, ordering: .relaxed) }
  }

  /// Adds a range of pages of the block.
  public func insert(pages range: Range<Int>) {
    var page = range.lowerBound
    while page < range.upperBound {
      let (span, first) = page.quotientAndRemainder(dividingBy: PageGeometry.pagesPerSpan)
      let count = min(PageGeometry.pagesPerSpan - first, range.upperBound - page)
      insert(.lowest(count) << PageMask(first), span: span)
      page += count
    }
  }

  /// Pages in the map.
  public func count() -> Int { (0..<spanCount).reduce(0) { $0 + pages(span: $1).nonzeroBitCount } }

  /// Calls `body` with each maximal run of pages, ascending, as a range of page numbers within the block.
  public func forEachRun(_ body: (Range<Int>) -> Void) {
    var open: Range<Int>?
    for span in 0..<spanCount {
      let base = span * PageGeometry.pagesPerSpan
      pages(span: span).forEachRun { run in
        let next = base + run.lowerBound..<base + run.upperBound
        if let before = open, before.upperBound == next.lowerBound {
          open = before.lowerBound..<next.upperBound
        } else {
          if let before = open { body(before) }
          open = next
        }
      }
    }
    if let last = open { body(last) }
  }
}
