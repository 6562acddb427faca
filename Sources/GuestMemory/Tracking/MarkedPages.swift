// SPDX-License-Identifier: Apache-2.0
import PageModel
import Synchronization

/// What a log was told, until it passes it on.
struct MarkedPages: Sendable {
  private let maps: [SpanMap]

  init(_ blocks: BlockTable) { maps = blocks.blocks.map { SpanMap(block: $0) } }

  func insert(block: Int, pages: Range<Int>) {
    precondition(
      pages.lowerBound >= 0 && pages.upperBound <= maps[block].spanCount * PageGeometry.pagesPerSpan,
      "pages leave their block")
    // Pairs with the fence in `take`: who takes a mark sees what was written before it was made.
    atomicMemoryFence(ordering: .releasing)
    maps[block].insert(pages: pages)
  }

  func insert(block: Int, span: Int, _ pages: PageMask) { maps[block].insert(pages, span: span) }

  /// Adds the marks to other maps; they stay.
  func add(to pending: [SpanMap]) {
    for (block, map) in maps.enumerated() { map.add(to: pending[block]) }
  }

  /// Adds marks of at most a stripe to `masks`; they stay.
  func add(block: Int, spans: Range<Int>, to masks: inout StripeMasks) {
    for (index, span) in spans.enumerated() { masks[index] |= maps[block].pages(span: span) }
  }

  /// Takes marks of at most a stripe out, and adds them to `masks`.
  func take(block: Int, spans: Range<Int>, into masks: inout StripeMasks) {
    maps[block].take(spans: spans, into: &masks)
    atomicMemoryFence(ordering: .acquiring)
  }

  /// Takes a block's marks out, and adds them to a map.
  func take(block: Int, to pending: SpanMap) {
    for span in 0..<pending.spanCount {
      let found = maps[block].take(span: span)
      if found != 0 { pending.insert(found, span: span) }
    }
    atomicMemoryFence(ordering: .acquiring)
  }

  func removeAll() {
    for map in maps {
      for span in 0..<map.spanCount { _ = map.take(span: span) }
    }
  }
}

extension SpanMap {
  /// Adds all of this map's pages to another of the same block.
  func add(to other: SpanMap) {
    for span in 0..<spanCount {
      let found = pages(span: span)
      if found != 0 { other.insert(found, span: span) }
    }
  }

  /// Takes the pages of at most a stripe out of the map, and adds them to `masks`.
  func take(spans: Range<Int>, into masks: inout StripeMasks) {
    for (index, span) in spans.enumerated() { masks[index] |= take(span: span) }
  }
}
