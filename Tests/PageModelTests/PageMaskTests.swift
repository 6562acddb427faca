// SPDX-License-Identifier: Apache-2.0
import PageModel
import TestSupport
import Testing

@Suite("Page masks")
struct PageMaskTests {
  /// Page by page: a run begins where a page is set and the one before is not, and ends where the next is not.
  private static func runs(of mask: PageMask) -> [Range<Int>] {
    var runs: [Range<Int>] = []
    var start: Int?
    for page in 0...64 {
      let isSet = page < 64 && (mask >> PageMask(page)) % 2 == 1
      if isSet, start == nil { start = page }
      if !isSet, let begun = start {
        runs.append(begun..<page)
        start = nil
      }
    }
    return runs
  }

  /// Sparse, even and dense masks.
  private static func masks(seed: UInt64) -> [PageMask] {
    var generator = SeededGenerator(seed: seed)
    return (0..<1500).map { index in
      let (first, second) = (generator.next(), generator.next())
      return [first & second, first, first | second][index % 3]
    }
  }

  @Test("The runs of a mask are its maximal runs, ascending", arguments: [1, 2] as [UInt64])
  func runsAreMaximal(seed: UInt64) {
    for mask in Self.masks(seed: seed) {
      var found: [Range<Int>] = []
      mask.forEachRun { found.append($0) }
      #expect(found == Self.runs(of: mask), "mask 0x\(String(mask, radix: 16)), seed \(seed)")
    }
  }

  @Test(
    "Masks at the edges have the runs that one expects",
    arguments: [
      (0, []), (1, [0..<1]), (1 << 63, [63..<64]), (.max, [0..<64]), (.max - 1, [1..<64]), (.max >> 1, [0..<63]),
      (1 << 63 | 1, [0..<1, 63..<64]), (0b1011, [0..<2, 3..<4]),
    ] as [(PageMask, [Range<Int>])])
  func edges(mask: PageMask, expected: [Range<Int>]) {
    var found: [Range<Int>] = []
    mask.forEachRun { found.append($0) }
    #expect(found == expected)
  }

  @Test("An error ends the walk at the run that threw it")
  func errorEndsTheWalk() {
    struct Stop: Error, Equatable { var at: Range<Int> }
    var visited: [Range<Int>] = []
    #expect(throws: Stop(at: 4..<6)) {
      try PageMask(0b1100_0011_0011_0001).forEachRun { run in
        visited.append(run)
        if run.lowerBound == 4 { throw Stop(at: run) }
      }
    }
    #expect(visited == [0..<1, 4..<6])
  }

  @Test("The lowest n pages are pages 0 to n - 1", arguments: 0...64)
  func lowest(count: Int) {
    let mask = PageMask.lowest(count)
    let pages = (0..<64).filter { (mask >> PageMask($0)) % 2 == 1 }
    #expect(pages == Array(0..<count))
  }
}
