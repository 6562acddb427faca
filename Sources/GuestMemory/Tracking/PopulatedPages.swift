// SPDX-License-Identifier: Apache-2.0
import HostSystem
import PageModel
import SystemPackage

/// Which pages of write-protected memory may hold something: what a bulk stage has to look at.
enum PopulatedPages {
  /// Looks at a block that began as zeros: private anonymous memory, or a memfd's.
  ///
  /// Asks mincore(2), which calls a page resident if it has memory, be that memory just on its way to another place
  /// (a migration entry). PAGEMAP_SCAN cannot tell such a page, nor one that is swapped out, from one that was never
  /// touched and has only got a marker that write-protects it (WP_UNPOPULATED): all three read as "swapped". For the
  /// same reason there is no answer where the host swaps: mincore takes what is swapped out for absent.
  ///
  /// The block must be write-protected already. So whatever is written after this looked at a page is in the log, and
  /// a page may be left out when it is the shared page of zeros at that moment.
  /// - Returns: nil if it cannot be known.
  static func find(_ memory: TrackedBlocks, block: Int, pagemap: Pagemap?) -> SpanMap? {
    guard hasNoSwap else { return nil }
    let map = SpanMap(block: memory.blocks.blocks[block])
    do throws(Errno) {
      try memory.forEachChunk(block: block) { range, firstSpan, words throws(Errno) in
        try Pagemap.addResident(range, to: &words)
        var zeros = SpanWords()
        var found = zeros.mutableSpan
        try pagemap?.addZeroFrames(range, to: &found)
        for span in 0..<range.spanCount where words[span] & ~zeros[span] != 0 {
          map.insert(words[span] & ~zeros[span], span: firstSpan + span)
        }
      }
    } catch { return nil }
    return hasNoSwap ? map : nil
  }

  /// Whether the host has no swap area: /proc/swaps has only its heading.
  private static var hasNoSwap: Bool {
    HostMemory.firstBytes(of: "/proc/swaps").map { $0.split(separator: "\n").count <= 1 } ?? false
  }
}

/// A bitmap of 128 MiB of guest memory.
typealias SpanWords = InlineArray<512, UInt64>

extension SpanWords {
  init() { self.init(repeating: 0) }
}

extension TrackedBlocks.AddressRange {
  var spanCount: Int { (pageCount + PageGeometry.pagesPerSpan - 1) / PageGeometry.pagesPerSpan }
}

extension TrackedBlocks {
  /// Calls `body` with a block's memory, 128 MiB at a time, the number of the first span, and an empty bitmap for it.
  /// In parts, so that the kernel's lock on the address space is not held for long.
  func forEachChunk(
    block: Int, _ body: (AddressRange, _ firstSpan: Int, inout MutableSpan<UInt64>) throws(Errno) -> Void
  ) throws(Errno) {
    let spanCount = blocks.spanCount(block: block)
    for first in stride(from: 0, to: spanCount, by: SpanWords.count) {
      var words = SpanWords()
      var span = words.mutableSpan
      try body(range(block: block, spans: first..<min(first + SpanWords.count, spanCount)), first, &span)
    }
  }
}
