// SPDX-License-Identifier: Apache-2.0
import PageModel
import Testing

@testable import Lanes

@Suite struct LaneAssignmentTests {
  static let blocks: [RAMBlock] = [
    RAMBlock(name: "one page", guestPhysicalBase: 0, byteCount: 4096),
    RAMBlock(name: "two stripes and a bit", guestPhysicalBase: 1 << 20, byteCount: (4 << 20) + 5 * 4096),
    RAMBlock(name: "many", guestPhysicalBase: 1 << 32, byteCount: 77 << 20),
  ]

  @Test("Every span is in exactly one lane's stripes, and that is its lane", arguments: [1, 2, 3, 7, 64, 256])
  func covers(laneCount: Int) throws {
    let table = try BlockTable(Self.blocks)
    let assignment = LaneAssignment(blocks: table, laneCount: laneCount, channelCount: 1)
    for (index, block) in table.blocks.enumerated() {
      var owners = [Int?](repeating: nil, count: block.spanCount)
      for lane in 0..<laneCount {
        for stripe in assignment.stripes(ofLane: lane, block: index, spanCount: block.spanCount) {
          for span in stripe..<min(stripe + PageGeometry.spansPerStripe, block.spanCount) {
            #expect(owners[span] == nil, "span \(span) of '\(block.name)' has two lanes")
            owners[span] = lane
          }
        }
      }
      for span in owners.indices {
        #expect(owners[span] == assignment.lane(block: index, span: span), "span \(span) of '\(block.name)'")
      }
    }
  }

  @Test("A huge page stays on one lane")
  func stripesHoldTogether() throws {
    let assignment = LaneAssignment(blocks: try BlockTable(Self.blocks), laneCount: 3, channelCount: 2)
    for span in 0..<300 {
      #expect(assignment.lane(block: 2, span: span) == assignment.lane(block: 2, span: span / 8 * 8))
    }
  }

  @Test("Every channel has a lane", arguments: [(1, 1), (2, 2), (5, 2), (64, 64)])
  func channelsAreFed(lanes: Int, channels: Int) throws {
    let assignment = LaneAssignment(blocks: try BlockTable(Self.blocks), laneCount: lanes, channelCount: channels)
    #expect(Set((0..<lanes).map { assignment.channel(ofLane: $0) }) == Set(0..<channels))
  }
}
