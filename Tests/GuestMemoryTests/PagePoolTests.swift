// SPDX-License-Identifier: Apache-2.0
import PageKernels
import PageModel
import TestSupport
import Testing

@testable import GuestMemory

@Suite("A pool of pages")
struct PagePoolTests {
  private static let blocks = [
    RAMBlock(name: "a", guestPhysicalBase: 0, byteCount: 200 * 4096),
    RAMBlock(name: "b", guestPhysicalBase: 1 << 20, byteCount: 3 * 4096),
  ]

  private static func fill(_ pool: PagePool, _ block: Int, _ page: Int, _ value: UInt8, _ hand: inout PagePool.Hand) {
    unsafe pool.place(block: block, page: page, &hand).initializeMemory(as: UInt8.self, repeating: value)
  }

  private static func bytes(_ pool: PagePool, _ block: Int, _ page: Int) -> [UInt8] {
    pool.withPage(block: block, page: page) { span in unsafe span.withUnsafeBytes { unsafe Array($0) } }
  }

  @Test("Reads as the guest's memory would, whatever comes and goes", arguments: [1, 2, 3] as [UInt64])
  func model(seed: UInt64) throws {
    let pool = try PagePool(try BlockTable(Self.blocks))
    var hands = [PagePool.Hand(), PagePool.Hand()]
    var model: [[UInt8]] = Self.blocks.map { Array(repeating: 0, count: $0.pageCount) }
    var random = SeededGenerator(seed: seed)
    for step in 0..<20_000 {
      let block = Int.random(in: 0...1, using: &random)
      let page = Int.random(in: 0..<model[block].count, using: &random)
      switch Int.random(in: 0..<10, using: &random) {
      case 0:
        let span = page / 64
        let pages = span * 64..<min(model[block].count, span * 64 + 64)
        #expect(pool.giveBack(block: block, span: span) == pages.count { model[block][$0] != 0 })
        for page in pages { model[block][page] = 0 }
      default:
        let value = UInt8.random(in: 1...255, using: &random)
        Self.fill(pool, block, page, value, &hands[step & 1])
        model[block][page] = value
      }
      #expect(pool.holds(block: block, page: page) == (model[block][page] != 0))
    }
    for block in 0...1 {
      for page in model[block].indices {
        #expect(Self.bytes(pool, block, page) == Array(repeating: model[block][page], count: 4096))
      }
    }
    #expect(pool.heldByteCount == model.reduce(0) { $0 + $1.count { $0 != 0 } } * 4096)
  }

  @Test("A snapshot is what one of memory in one piece would be, hashes too", arguments: [4, 5, 6] as [UInt64])
  func snapshots(seed: UInt64) throws {
    let pool = try PagePool(try BlockTable(Self.blocks))
    var hand = PagePool.Hand()
    var random = SeededGenerator(seed: seed)
    var flat = [UInt8](repeating: 0, count: 64 * 4096)
    for page in 0..<64 where Bool.random(using: &random) {
      // Some are held, and zero all the same.
      let value = UInt8.random(in: 0...3, using: &random)
      Self.fill(pool, 0, 64 + page, value, &hand)
      for offset in page * 4096..<(page + 1) * 4096 { flat[offset] = value }
    }
    for _ in 0..<50 {
      let wanted = PageMask.random(in: 0 ... .max, using: &random)
      var (here, there) = ([UInt8](repeating: 9, count: 64 * 4096), [UInt8](repeating: 9, count: 64 * 4096))
      var (hash, same) = ([UInt64](repeating: 1, count: 64), [UInt64](repeating: 1, count: 64))
      var room = here.mutableSpan
      var found = hash.mutableSpan
      var raw = unsafe room.mutableBytes
      let result = pool.snapshot(block: 0, span: 1, wanted: wanted, into: &raw, hashes: &found, seed: 7)
      var otherRoom = there.mutableSpan
      var otherFound = same.mutableSpan
      var otherRaw = unsafe otherRoom.mutableBytes
      let expected = Snapshot.take(
        span: unsafe flat.span.bytes, wanted: wanted, into: &otherRaw, hashes: &otherFound, seed: 7)
      #expect(result == expected)
      let count = result.copiedPageCount
      #expect(here[..<(count * 4096)] == there[..<(count * 4096)])
      #expect(hash[..<count] == same[..<count])
    }
  }

  @Test("Slots are used again: what it takes is the most that was here at once")
  func reuse() throws {
    let pool = try PagePool(try BlockTable([RAMBlock(name: "a", guestPhysicalBase: 0, byteCount: 1 << 30)]))
    var hand = PagePool.Hand()
    for span in 0..<4096 {
      for page in 0..<64 { Self.fill(pool, 0, span * 64 + page, 1, &hand) }
      if span >= 4 { #expect(pool.giveBack(block: 0, span: span - 4) == 64) }
      #expect(pool.heldByteCount <= 5 * 64 * 4096)
    }
    // Of 262,144 pages.
    #expect(pool.slotCount <= 7 * 64)
  }
}
