// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import HostSystem
import PageModel
import TestSupport
import Testing

@Suite("Span maps")
struct SpanMapTests {
  private static func block(_ pageCount: Int) -> RAMBlock {
    RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: UInt64(pageCount * pageByteCount))
  }

  /// The maximal runs of consecutive numbers in a set.
  private static func runs(of pages: Set<Int>) -> [Range<Int>] {
    let starts = pages.filter { !pages.contains($0 - 1) }.sorted()
    let ends = pages.filter { !pages.contains($0 + 1) }.sorted()
    return zip(starts, ends).map { $0..<$1 + 1 }
  }

  @Test("A map of the largest block takes no room before something is in it")
  func large() throws {
    func resident() throws -> Int {
      // Pages: size, resident, shared.
      let numbers = try #require(HostMemory.firstBytes(of: "/proc/self/statm", limit: 200)).split(separator: " ")
      return try #require(Int(numbers[1])) << 12
    }
    let before = try resident()
    let map = SpanMap(block: Self.block(1 << 34))
    map.insert(1, span: map.spanCount - 1)
    // Other tests may be taking some.
    #expect(try resident() - before < 1 << 30)
    #expect(map.pages(span: map.spanCount - 1) == 1 && map.pages(span: 0) == 0)
  }

  @Test(
    "A map holds what a set of page numbers holds, after any operations",
    arguments: [1, 64, 65, 300, 640], [301, 302, 303] as [UInt64])
  func asSet(pageCount: Int, seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    let block = Self.block(pageCount)
    let map = SpanMap(block: block)
    var reference: Set<Int> = []
    for step in 0..<150 {
      let place: Comment = "step \(step) of \(pageCount) pages, seed \(seed)"
      let span = Int.random(in: 0..<block.spanCount, using: &generator)
      switch Int.random(in: 0..<4, using: &generator) {
      case 0:
        let added = generator.next() & generator.next() & block.pages(ofSpan: span)
        map.insert(added, span: span)
        reference.formUnion(pageNumbers(added).map { span * 64 + $0 })
      case 1, 2:
        let bounds = [0, 0].map { _ in Int.random(in: 0...pageCount, using: &generator) }
        let range = min(bounds[0], bounds[1])..<max(bounds[0], bounds[1])
        map.insert(pages: range)
        reference.formUnion(range)
      default:
        let expected = reference.filter { $0 / 64 == span }
        let taken = map.take(span: span)
        #expect(Set(pageNumbers(taken).map { span * 64 + $0 }) == expected, place)
        reference.subtract(expected)
      }
      #expect(pages(of: map) == reference, place)
      #expect(map.count() == reference.count, place)
      var found: [Range<Int>] = []
      map.forEachRun { found.append($0) }
      #expect(found == Self.runs(of: reference), place)
    }
  }

  @Test("A new map is empty")
  func empty() {
    let map = SpanMap(block: Self.block(200))
    #expect(map.spanCount == 4)
    #expect(map.count() == 0)
    map.forEachRun { Issue.record("a run \($0) in an empty map") }
  }

  @Test("Runs go on across spans")
  func acrossSpans() {
    let map = SpanMap(block: Self.block(256))
    map.insert(pages: 10..<200)
    map.insert(pages: 201..<256)
    var found: [Range<Int>] = []
    map.forEachRun { found.append($0) }
    #expect(found == [10..<200, 201..<256])
  }
}
