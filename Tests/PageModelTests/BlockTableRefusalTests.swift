// SPDX-License-Identifier: Apache-2.0
import PageModel
import Testing

@Suite("Tables of RAM blocks that are refused")
struct BlockTableRefusalTests {
  struct Case: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var blocks: [RAMBlock]
    var error: BlockTableError
    var words: [String]
  }

  private static func block(
    _ name: String = "ram", at base: UInt64 = 0, _ byteCount: UInt64 = 4096, hostPage: UInt32 = 4096
  ) -> RAMBlock {
    RAMBlock(name: name, guestPhysicalBase: base, byteCount: byteCount, hostPageByteCount: hostPage)
  }

  static let cases: [Case] = [
    Case(testDescription: "no block", blocks: [], error: .noBlocks, words: ["no RAM block"]),
    Case(
      testDescription: "1025 blocks", blocks: (0..<1025).map { block("ram\($0)", at: UInt64($0) << 12) },
      error: .tooManyBlocks(found: 1025, allowed: 1024), words: ["1025", "1024"]),
    Case(
      testDescription: "an empty name", blocks: [block("")], error: .badName(byteCount: 0, allowed: 255),
      words: ["name", "0 bytes", "255"]),
    Case(
      testDescription: "a name of 256 bytes in 128 characters", blocks: [block(String(repeating: "ä", count: 128))],
      error: .badName(byteCount: 256, allowed: 255), words: ["name", "256 bytes", "255"]),
    Case(
      testDescription: "a name used twice", blocks: [block("a"), block("b", at: 8192), block("a", at: 1 << 20)],
      error: .duplicateName("a"), words: ["'a'", "two"]),
    Case(
      testDescription: "no byte", blocks: [block("low", 0)],
      error: .notPageMultiple(block: "low", field: "size", found: 0), words: ["'low'", "size", "4096"]),
    Case(
      testDescription: "half a page too much", blocks: [block("low", 6144)],
      error: .notPageMultiple(block: "low", field: "size", found: 6144), words: ["'low'", "size", "6144"]),
    Case(
      testDescription: "a base inside a page", blocks: [block("low", at: 1)],
      error: .notPageMultiple(block: "low", field: "guest-physical base", found: 1),
      words: ["'low'", "guest-physical base", "4096"]),
    Case(
      testDescription: "one block of 64 TiB and a page", blocks: [block("ram", (1 << 46) + 4096)],
      error: .tooLarge(found: (1 << 46) + 4096, allowed: 1 << 46), words: ["70368744181760", "70368744177664"]),
    Case(
      testDescription: "64 TiB and a page in two blocks",
      blocks: [block("a", 1 << 46), block("b", at: 1 << 50)],
      error: .tooLarge(found: (1 << 46) + 4096, allowed: 1 << 46), words: ["70368744181760"]),
    Case(
      testDescription: "past the end of the address space", blocks: [block("rom", at: UInt64.max - 4095, 8192)],
      error: .addressOverflow("rom"), words: ["'rom'", "64-bit"]),
    Case(
      testDescription: "overlap by one page, higher block first",
      blocks: [block("high", at: 4096, 8192), block("low", at: 0, 8192)], error: .overlap("low", "high"),
      words: ["'low'", "'high'", "overlap"]),
    Case(
      testDescription: "a block within another",
      blocks: [block("outer", at: 0, 1 << 20), block("inner", at: 8192)], error: .overlap("outer", "inner"),
      words: ["'outer'", "'inner'"]),
    Case(
      testDescription: "host pages of 8 KiB", blocks: [block("low", hostPage: 8192)],
      error: .badHostPage(block: "low", found: 8192), words: ["'low'", "8192", "2097152"]),
    Case(
      testDescription: "host pages of no size", blocks: [block("low", hostPage: 0)],
      error: .badHostPage(block: "low", found: 0), words: ["'low'"]),
    Case(
      testDescription: "the first of two bad blocks is named",
      blocks: [block("good"), block("bad", at: 3), block("worse", at: 5)],
      error: .notPageMultiple(block: "bad", field: "guest-physical base", found: 3), words: ["'bad'"]),
  ]

  @Test("A bad table is refused with its error", arguments: cases)
  func refused(_ bad: Case) {
    #expect(throws: bad.error) { try BlockTable(bad.blocks) }
  }

  @Test("The message says what is wrong and what is allowed", arguments: cases)
  func message(_ bad: Case) {
    for word in bad.words { #expect(bad.error.description.contains(word), "lacks \"\(word)\"") }
  }
}
