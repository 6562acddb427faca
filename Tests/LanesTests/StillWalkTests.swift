// SPDX-License-Identifier: Apache-2.0
import PageModel
import Testing

@testable import Lanes

/// Where lanes walk memory that does not change.
@Suite struct StillWalkTests {
  private struct Place: Hashable {
    var block: Int
    var stripe: Int
  }

  private static func table(_ stripes: [Int]) throws -> BlockTable {
    var base: UInt64 = 0
    return try BlockTable(
      stripes.enumerated().map { index, count in
        defer { base += UInt64(count + 1) << 21 }
        return RAMBlock(name: "block\(index)", guestPhysicalBase: base, byteCount: UInt64(count) << 21)
      })
  }

  private static func walk(_ lane: Int, _ blocks: BlockTable, _ assignment: LaneAssignment) -> [Place] {
    StillWalk(lane: lane, blocks: blocks, assignment: assignment).legs.flatMap { leg in
      let stripes = leg.isDescending ? Array(leg.stripes.reversed()) : Array(leg.stripes)
      return stripes.map { Place(block: leg.block, stripe: $0) }
    }
  }

  @Test(
    "Each lane comes by every stripe once, so none is left whoever is slow",
    arguments: [1, 2, 3, 4, 5, 8, 64], [[1], [512], [3, 1, 700], [2, 2, 2, 2]])
  func everyStripe(laneCount: Int, stripes: [Int]) throws {
    let blocks = try Self.table(stripes)
    let assignment = LaneAssignment(blocks: blocks, laneCount: laneCount, channelCount: 1)
    for lane in 0..<laneCount {
      let places = Self.walk(lane, blocks, assignment)
      #expect(places.count == stripes.reduce(0, +), "lane \(lane)")
      #expect(Set(places).count == places.count, "lane \(lane)")
    }
  }

  @Test("Lanes that go at one pace meet without crossing: each takes as much as any other", arguments: [2, 4, 6])
  func equalShares(laneCount: Int) throws {
    let blocks = try Self.table([100, 60, 80])
    let assignment = LaneAssignment(blocks: blocks, laneCount: laneCount, channelCount: 1)
    let walks = (0..<laneCount).map { Self.walk($0, blocks, assignment) }
    var taken: [Place: Int] = [:]
    for step in 0..<240 { for lane in 0..<laneCount { taken[walks[lane][step], default: lane] += 0 } }
    #expect(taken.count == 240)
    for lane in 0..<laneCount {
      #expect(taken.values.count { $0 == lane } == 240 / laneCount, "lane \(lane)")
      // What it takes lies together: a codec with a history looks back at neighbours.
      let own = walks[lane].prefix(240 / laneCount).map { $0.block * 1000 + $0.stripe }
      #expect(own == (lane.isMultiple(of: 2) ? own.sorted() : own.sorted().reversed()))
    }
  }

  @Test("A lane reads what lies on its own node before it helps elsewhere")
  func ownNodeFirst() throws {
    let blocks = try Self.table([40, 40])
    let homes = LaneHomes(lanes: [0, 0, 1, 1], blocks: [0, 1])
    let assignment = LaneAssignment(blocks: blocks, laneCount: 4, channelCount: 2, homes: homes)
    for lane in 0..<4 {
      let places = Self.walk(lane, blocks, assignment)
      #expect(places.prefix(40).allSatisfy { $0.block == lane / 2 }, "lane \(lane)")
      #expect(Set(places).count == 80)
    }
  }
}
