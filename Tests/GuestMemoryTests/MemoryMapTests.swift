// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import PageModel
import TestSupport
import Testing

@Suite("Memory maps")
struct MemoryMapTests {
  private let directory = TemporaryDirectory()

  private func read(_ json: String) throws -> MemoryMap {
    try MemoryMap(path: try directory.write(Array(json.utf8), to: "map.json"))
  }

  @Test("Numbers may be plain, with a unit, or hexadecimal")
  func numbers() throws {
    let map = try read(
      """
      { "blocks": [
        { "name": "ram.low",  "guestPhysicalBase": 0, "fileOffset": 0, "size": "3GiB" },
        { "name": "ram.high", "guestPhysicalBase": "0x100000000", "fileOffset": "3GiB", "size": 5368709120,
          "hostPageSize": "2MiB" } ] }
      """)
    #expect(
      map.blocks.blocks == [
        RAMBlock(name: "ram.low", guestPhysicalBase: 0, byteCount: 3 << 30),
        RAMBlock(name: "ram.high", guestPhysicalBase: 1 << 32, byteCount: 5 << 30, hostPageByteCount: 2 << 20),
      ])
    #expect(map.fileOffsets == [0, 3 << 30])
    #expect(map.fileByteCount == 8 << 30)
  }

  @Test("Blocks may lie in the file in any order, with room between them")
  func anyOrder() throws {
    let map = try read(
      """
      { "blocks": [
        { "name": "a", "guestPhysicalBase": 0,        "fileOffset": 16384, "size": 8192 },
        { "name": "b", "guestPhysicalBase": "0x8000", "fileOffset": 4096,  "size": 4096 } ] }
      """)
    #expect(map.fileOffsets == [16384, 4096])
    #expect(map.fileByteCount == 24576)
  }

  @Test("A map that was written is read back the same")
  func roundTrip() throws {
    let blocks = [
      RAMBlock(name: "low \"quoted\" \u{e9}", guestPhysicalBase: 0, byteCount: 12288),
      RAMBlock(name: "high", guestPhysicalBase: 1 << 40, byteCount: 4096, hostPageByteCount: 1 << 30),
    ]
    let map = try MemoryMap(consecutive: blocks)
    let path = try directory.write(try map.json(), to: "written.json")
    #expect(try MemoryMap(path: path) == map)
  }

  @Test("Consecutive blocks follow each other in the file")
  func consecutive() throws {
    let blocks = [(0, 3), (8, 1), (4, 2)].enumerated().map { index, pages in
      RAMBlock(name: "ram\(index)", guestPhysicalBase: UInt64(pages.0) << 12, byteCount: UInt64(pages.1) << 12)
    }
    let map = try MemoryMap(consecutive: blocks)
    #expect(map.fileOffsets == [0, 12288, 16384])
    #expect(map.fileByteCount == 24576)
    #expect(map.blocks.blocks == blocks)
  }

  @Test("A whole image is one block")
  func wholeImage() throws {
    let map = try MemoryMap(wholeImage: 40960)
    #expect(map.blocks.blocks == [RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: 40960)])
    #expect(map.fileOffsets == [0])
    #expect(throws: GuestMemoryError.badBlocks(.notPageMultiple(block: "ram", field: "size", found: 40961))) {
      try MemoryMap(wholeImage: 40961)
    }
    #expect(throws: GuestMemoryError.badBlocks(.noBlocks)) { try MemoryMap(consecutive: []) }
  }
}
