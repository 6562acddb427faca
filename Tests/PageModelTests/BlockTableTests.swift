// SPDX-License-Identifier: Apache-2.0
import PageModel
import TestSupport
import Testing

@Suite("Tables of RAM blocks")
struct BlockTableTests {
  @Test("A table keeps its blocks in the order given, and counts them")
  func keepsOrder() throws {
    let high = RAMBlock(name: "high", guestPhysicalBase: 1 << 32, byteCount: 5 << 30, hostPageByteCount: 1 << 30)
    let low = RAMBlock(name: "low", guestPhysicalBase: 0, byteCount: 3 << 30, hostPageByteCount: 2 << 20)
    let table = try BlockTable([high, low])
    #expect(table.blocks == [high, low])
    #expect(table.byteCount == 8 << 30)
    #expect(table.pageCount == 2 << 20)
  }

  @Test("Blocks may touch each other")
  func adjacent() throws {
    let blocks = (0..<3).map { RAMBlock(name: "ram\($0)", guestPhysicalBase: UInt64($0) * 8192, byteCount: 8192) }
    #expect(try BlockTable(blocks.reversed()).byteCount == 24576)
  }

  @Test("1024 blocks are allowed")
  func mostBlocks() throws {
    let blocks = (0..<1024).map { RAMBlock(name: "ram\($0)", guestPhysicalBase: UInt64($0) << 12, byteCount: 4096) }
    #expect(try BlockTable(blocks).pageCount == 1024)
  }

  @Test("64 TiB are allowed, in one block or in several")
  func mostBytes() throws {
    let one = RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: 1 << 46)
    #expect(try BlockTable([one]).byteCount == 1 << 46)
    let halves = (0..<2).map { RAMBlock(name: "ram\($0)", guestPhysicalBase: UInt64($0) << 50, byteCount: 1 << 45) }
    #expect(try BlockTable(halves).byteCount == 1 << 46)
  }

  @Test("A name may have 255 bytes")
  func longestName() throws {
    let name = String(repeating: "ä", count: 127) + "n"
    #expect(try BlockTable([RAMBlock(name: name, guestPhysicalBase: 0, byteCount: 4096)]).blocks[0].name == name)
  }

  @Test("A block may lie at the top of the address space")
  func top() throws {
    let block = RAMBlock(name: "rom", guestPhysicalBase: UInt64.max - 8191, byteCount: 4096)
    #expect(try BlockTable([block]).blocks == [block])
  }

  @Test("Random blocks are refused exactly if two of them share an address", arguments: 1...200 as ClosedRange<UInt64>)
  func overlapIsFound(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    let ranges = (0..<Int.random(in: 2...5, using: &generator)).map { _ in
      let base = UInt64.random(in: 0..<24, using: &generator)
      return base..<base + UInt64.random(in: 1...6, using: &generator)
    }
    let overlaps = ranges.indices.contains { first in
      ranges.indices.contains { second in first < second && ranges[first].overlaps(ranges[second]) }
    }
    let blocks = ranges.enumerated().map { index, range in
      RAMBlock(name: "ram\(index)", guestPhysicalBase: range.lowerBound << 12, byteCount: UInt64(range.count) << 12)
    }
    let refused: Bool
    do {
      _ = try BlockTable(blocks)
      refused = false
    } catch { refused = true }
    #expect(refused == overlaps, "pages \(ranges), seed \(seed)")
  }
}
