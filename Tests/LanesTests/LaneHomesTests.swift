// SPDX-License-Identifier: Apache-2.0
import PageModel
import TestSupport
import Testing

@testable import Lanes

@Suite struct LaneHomesTests {
  /// Blocks of a page, of stripes and a bit, and of many, in a random order.
  private static func blocks(_ random: inout SeededGenerator) throws -> BlockTable {
    var base: UInt64 = 0
    return try BlockTable(
      (0..<Int.random(in: 1...6, using: &random)).map { number in
        let pages = [1, 513, 64 * 8 * 3 + 5, Int.random(in: 1...20_000, using: &random)].randomElement(using: &random)
        let byteCount = UInt64(pages ?? 1) * 4096
        defer { base += byteCount }
        return RAMBlock(name: "block\(number)", guestPhysicalBase: base, byteCount: byteCount)
      })
  }

  private static func homes(_ count: Int, _ random: inout SeededGenerator) -> [Int?] {
    (0..<count).map { _ in [nil, 0, 1, 8, 252].randomElement(using: &random) ?? nil }
  }

  @Test(
    "Whatever the homes: every stripe has one lane, of its block's home if that has lanes; pages are numbered apart")
  func partition() throws {
    var random = SeededGenerator(seed: 77)
    for _ in 0..<150 {
      let table = try Self.blocks(&random)
      let laneCount = Int.random(in: 1...9, using: &random)
      let homes = LaneHomes(
        lanes: Self.homes(Int.random(in: 0...laneCount, using: &random), &random),
        blocks: Self.homes(table.blocks.count, &random))
      let assignment = LaneAssignment(
        blocks: table, laneCount: laneCount, channelCount: Int.random(in: 1...laneCount, using: &random), homes: homes)
      var numbers = [Set<Int>](repeating: [], count: laneCount)
      for (index, block) in table.blocks.enumerated() {
        var owners = [Int?](repeating: nil, count: block.spanCount)
        for lane in 0..<laneCount {
          var before: Int?
          for stripe in assignment.stripes(ofLane: lane, block: index, spanCount: block.spanCount) {
            if let before { #expect(stripe - before == assignment.step(block: index)) }
            before = stripe
            for span in stripe..<min(stripe + PageGeometry.spansPerStripe, block.spanCount) {
              #expect(owners[span] == nil, "span \(span) of block \(index) has two lanes")
              owners[span] = lane
              let isNew = numbers[lane].insert(assignment.pageNumber(block: index, span: span)).inserted
              #expect(isNew, "two spans of lane \(lane) have the same number")
            }
          }
        }
        let home = homes.blocks[index].flatMap { homes.lanes.contains($0) ? $0 : nil }
        for span in owners.indices {
          let owner = try #require(owners[span], "span \(span) of block \(index) has no lane")
          #expect(owner == assignment.lane(block: index, span: span))
          if let home { #expect(homes.lanes[owner] == home) }
        }
      }
      for lane in 0..<laneCount {
        let last = (numbers[lane].max() ?? -PageGeometry.pagesPerSpan) + PageGeometry.pagesPerSpan
        #expect(last <= assignment.pageCount(ofLane: lane))
      }
    }
  }

  @Test("Lanes of one home share its blocks evenly, to a stripe")
  func even() throws {
    let table = try BlockTable([
      RAMBlock(name: "a", guestPhysicalBase: 0, byteCount: 7 << 21),
      RAMBlock(name: "b", guestPhysicalBase: 1 << 32, byteCount: 5 << 21),
      RAMBlock(name: "c", guestPhysicalBase: 1 << 33, byteCount: 8 << 21),
    ])
    let assignment = LaneAssignment(
      blocks: table, laneCount: 5, channelCount: 5,
      homes: LaneHomes(lanes: [0, 0, 1, 0, 1], blocks: [0, 0, 1]))
    let stripes = (0..<5).map { assignment.pageCount(ofLane: $0) / 512 }
    #expect(stripes == [4, 4, 4, 4, 4])
  }

  @Test("The plan's homes: a block's lanes are those of its node, and the channel of a lane is what it always was")
  func fromPlan() throws {
    let table = try BlockTable([
      RAMBlock(name: "low", guestPhysicalBase: 0, byteCount: 1 << 30),
      RAMBlock(name: "high", guestPhysicalBase: 1 << 32, byteCount: 1 << 30),
    ])
    let placement = try plan(
      "two-nodes-smt", .node, lanes: 6, channels: 2, blocks: [block(1, on: 0), block(1, on: 1)])
    let assignment = LaneAssignment(blocks: table, laneCount: 6, channelCount: 2, homes: placement.homes)
    for (number, node) in [0, 1].enumerated() {
      let lanes = Set((0..<4096).map { assignment.lane(block: number, span: $0) })
      #expect(lanes.count == 3)
      for lane in lanes { #expect(placement.lanes[lane].node == node) }
    }
    // A destination knows nothing of homes: this is what it checks.
    for lane in 0..<6 { #expect(assignment.channel(ofLane: lane) == lane % 2) }
  }
}
