// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import PageModel
import Testing

@testable import Lanes

@Suite("What delta caches may take")
struct CacheBudgetTests {
  private static let guest: UInt64 = 1 << 30

  private static func budget(_ size: CacheBudget.Size) -> CacheBudget {
    CacheBudget(size, guestByteCount: guest, laneCount: 2)
  }

  @Test("A size and a share are divided among the lanes; never more than the guest has")
  func fixed() {
    func share(_ size: CacheBudget.Size) -> Int {
      Self.budget(size).byteCount(hotPageCount: 1 << 20, lanePageCount: 1 << 17, last: 0)
    }
    #expect(share(.off) == 0)
    #expect(share(.bytes(64 << 20)) == 32 << 20)
    #expect(share(.bytes(64 << 30)) == 512 << 20)
    #expect(share(.percent(1)) == Int(Double(Self.guest) / 100) / 2)
    #expect(share(.percent(400)) == 512 << 20)
  }

  @Test("A measured one begins with a twentieth, grows with the hot set, stops at a quarter, and does not shrink")
  func automatic() {
    let budget = Self.budget(.automatic)
    func next(_ hot: Int, _ last: Int) -> Int {
      budget.byteCount(hotPageCount: hot, lanePageCount: 1 << 17, last: last)
    }
    let first = next(0, 0)
    #expect(first == Int(Double(Self.guest) * 0.05) / 2)
    let grown = next(16_384, first)
    #expect(grown >= 16_384 * DeltaCache.pageByteCount)
    #expect(next(100, grown) == grown)
    #expect(next(16_500, grown) == grown)
    #expect(next(1 << 17, grown) == 128 << 20)
  }

  @Test("It can be changed while lanes work")
  func changes() {
    let budget = Self.budget(.off)
    budget.set(.bytes(8 << 20))
    #expect(budget.byteCount(hotPageCount: 0, lanePageCount: 1 << 17, last: 0) == 4 << 20)
  }
}

@Suite("How hot spans are")
struct SpanHeatTests {
  @Test("A span that is dirty in two syncs in a row is hot, and cools when it is not")
  func heats() throws {
    let table = try BlockTable([RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: 1 << 20)])
    let heat = SpanHeat(table)
    let pending = [SpanMap(block: table.blocks[0])]
    pending[0].insert(0b111, span: 1)
    pending[0].insert(0b1, span: 2)
    #expect(heat.update(from: pending) == (hot: 0, cool: 4))
    _ = pending[0].take(span: 2)
    #expect(heat.update(from: pending) == (hot: 3, cool: 0))
    #expect(heat.isHot(block: 0, span: 1) && !heat.isHot(block: 0, span: 2))
    _ = pending[0].take(span: 1)
    #expect(heat.update(from: pending) == (hot: 0, cool: 0))
    #expect(!heat.isHot(block: 0, span: 1))
  }
}
