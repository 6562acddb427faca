// SPDX-License-Identifier: Apache-2.0
import PageKernels
import TestSupport
import Testing

@Suite("Pages that no codec will shrink")
struct CompressibilityTests {
  private func looksRandom(_ bytes: [UInt8]) -> Bool { bytes.withRawSpan { Compressibility.looksRandom(pages: $0) } }

  @Test("Random pages are recognised, one by one and together")
  func random() {
    let pages = SamplePages.image(Array(repeating: .random, count: 512), seed: 401)
    let missed = (0..<512).filter { !looksRandom(Array(pages[$0 * 4096..<($0 + 1) * 4096])) }
    #expect(missed.count <= 1, "\(missed), seed 401")
    #expect(looksRandom(SamplePages.image(Array(repeating: .random, count: 64), seed: 402)))
  }

  @Test("Zeros, text, and pages of few values are not", arguments: [PageKind.zero, .text, .singleByte])
  func others(kind: PageKind) {
    let pages = SamplePages.image(Array(repeating: kind, count: 64), seed: 403)
    for page in 0..<64 {
      #expect(!looksRandom(Array(pages[page * 4096..<(page + 1) * 4096])), "page \(page), seed 403")
    }
  }

  @Test("What a codec can shrink by a tenth or more is not taken for random")
  func fewerValues() {
    var generator = SeededGenerator(seed: 404)
    // Base 64, 7-bit and 6-bit numbers, words of which every other byte is zero: up to 7 bits of 8.
    let makers: [(inout SeededGenerator, Int) -> UInt8] = [
      { generator, _ in UInt8(generator.next() % 64) + 32 }, { generator, _ in UInt8(generator.next() % 128) },
      { generator, index in index.isMultiple(of: 2) ? 0 : UInt8(truncatingIfNeeded: generator.next()) },
    ]
    for (number, maker) in makers.enumerated() {
      for _ in 0..<50 {
        let page = (0..<4096).map { maker(&generator, $0) }
        #expect(!looksRandom(page), "kind \(number), seed 404")
      }
    }
  }

  @Test("One page that is not random is enough, wherever it is; no page is not random")
  func oneOther() {
    for place in 0..<8 {
      var kinds = Array(repeating: PageKind.random, count: 8)
      kinds[place] = .text
      #expect(!looksRandom(SamplePages.image(kinds, seed: 405)), "\(place)")
    }
    #expect(!looksRandom([]))
  }
}
