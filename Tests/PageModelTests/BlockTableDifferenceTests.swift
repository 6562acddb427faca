// SPDX-License-Identifier: Apache-2.0
import PageModel
import Testing

@Suite("Differences between tables of RAM blocks")
struct BlockTableDifferenceTests {
  private static let low = RAMBlock(name: "low", guestPhysicalBase: 0, byteCount: 3 << 30)
  private static let high = RAMBlock(name: "high", guestPhysicalBase: 1 << 32, byteCount: 5 << 30)

  @Test("Equal tables do not differ")
  func equal() throws {
    let table = try BlockTable([Self.low, Self.high])
    #expect(table.difference(from: try BlockTable([Self.low, Self.high])) == nil)
  }

  @Test(
    "The difference names the block, what was expected and what was found",
    arguments: [
      ([low], ["2 expected", "has 1"]),
      ([low, high, RAMBlock(name: "more", guestPhysicalBase: 1 << 40, byteCount: 4096)], ["2 expected", "has 3"]),
      ([low, RAMBlock(name: "haut", guestPhysicalBase: 1 << 32, byteCount: 5 << 30)], ["'high'", "'haut'"]),
      ([high, low], ["'low' expected", "'high'"]),
      (
        [low, RAMBlock(name: "high", guestPhysicalBase: 1 << 32, byteCount: 4 << 30)],
        ["'high'", "5368709120", "4294967296"]
      ),
      (
        [low, RAMBlock(name: "high", guestPhysicalBase: 1 << 33, byteCount: 5 << 30)],
        ["'high'", "0x100000000", "0x200000000"]
      ),
    ] as [([RAMBlock], [String])])
  func difference(found: [RAMBlock], words: [String]) throws {
    let expected = try BlockTable([Self.low, Self.high])
    let sentence = try #require(expected.difference(from: BlockTable(found)))
    for word in words { #expect(sentence.contains(word), "\"\(sentence)\" lacks \"\(word)\"") }
  }
}
