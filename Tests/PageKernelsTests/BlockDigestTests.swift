// SPDX-License-Identifier: Apache-2.0
import PageKernels
import TestSupport
import Testing

@Suite("Block digests")
struct BlockDigestTests {
  private func digest(_ pages: [(number: Int, content: [UInt8])]) -> BlockDigest {
    var digest = BlockDigest()
    for page in pages { withSpan(page.content) { digest.add(page: $0, number: UInt64(page.number)) } }
    return digest
  }

  private func pages(_ count: Int, seed: UInt64) -> [(number: Int, content: [UInt8])] {
    var generator = SeededGenerator(seed: seed)
    return (0..<count).map { ($0, SamplePages.page($0 % 2 == 0 ? .random : .singleByte, using: &generator)) }
  }

  /// Computed with libxxhash's own program interface: XXH3-128 of the pattern page with its page number as seed.
  @Test(
    "The digest of one page is its XXH3-128 seeded with its number",
    arguments: [
      (0, "b9a8fc8c82e339f399e3c931dab3e711"), (1, "23bb4cb11e377c73127ff2ed14b979b8"),
      (5, "4b1a1cfa0f3bf5c0cb40362fec72c368"),
    ])
  func knownAnswers(number: Int, expected: String) {
    #expect(digest([(number, patternPage)]).description == expected)
  }

  @Test("The order of pages does not matter, nor how they are shared out", arguments: [131, 132] as [UInt64])
  func order(seed: UInt64) {
    let pages = pages(40, seed: seed)
    let expected = digest(pages)
    var generator = SeededGenerator(seed: seed)
    for round in 0..<10 {
      let shuffled = pages.shuffled(using: &generator)
      #expect(digest(shuffled) == expected, "round \(round), seed \(seed)")
      let cut = Int.random(in: 0...40, using: &generator)
      var sum = digest(Array(shuffled[cut...]))
      sum.add(digest(Array(shuffled[..<cut])))
      #expect(sum == expected, "cut at \(cut), round \(round), seed \(seed)")
    }
  }

  @Test("A block without data has the digest zero, and adding it changes nothing")
  func empty() {
    #expect(BlockDigest().description == String(repeating: "0", count: 32))
    var sum = digest(pages(3, seed: 141))
    let before = sum
    sum.add(BlockDigest())
    #expect(sum == before && sum != BlockDigest())
  }

  @Test("Any byte that changes changes both halves")
  func everyByteCounts() {
    var page = patternPage
    let original = digest([(7, page)])
    var low = Set([original.low])
    var high = Set([original.high])
    for byte in page.indices {
      page[byte] ^= 0x10
      let changed = digest([(7, page)])
      low.insert(changed.low)
      high.insert(changed.high)
      page[byte] ^= 0x10
    }
    #expect(low.count == 4097)
    #expect(high.count == 4097)
  }

  @Test("The same page elsewhere has another digest")
  func everyNumberCounts() {
    let numbers = Array(0..<2000) + [1 << 32, (1 << 32) + 1, 1 << 33]
    #expect(Set(numbers.map { digest([($0, patternPage)]).low }).count == numbers.count)
    #expect(Set(numbers.map { digest([($0, patternPage)]).high }).count == numbers.count)
  }

  @Test("Two pages that change places change the digest")
  func swap() {
    let two = pages(2, seed: 151)
    #expect(digest([(0, two[0].content), (1, two[1].content)]) != digest([(1, two[0].content), (0, two[1].content)]))
  }

  @Test("A digest prints as 32 hexadecimal digits, high half first")
  func prints() {
    #expect(BlockDigest(low: 0xab, high: 0x1).description == "000000000000000100000000000000ab")
    #expect(BlockDigest(low: .max, high: 0).description == "0000000000000000ffffffffffffffff")
  }
}
