// SPDX-License-Identifier: Apache-2.0
import PageModel

/// The order in which a lane walks memory that does not change.
///
/// Nothing is remembered of such pages, so no span has to stay with its lane: whoever takes it out of the pending map
/// sends it. Two lanes share a region and walk it from both ends until they meet, so both end at the same time whatever
/// the pages hold; who is done helps in other regions. And each lane reads memory that lies together, where a codec with
/// a history finds more of what it has seen before than in every other stripe of everything.
struct StillWalk {
  /// Consecutive stripes of a block, and from which end.
  struct Leg: Equatable {
    var block: Int
    /// Numbers of stripes within the block.
    var stripes: Range<Int>
    var isDescending: Bool
  }

  /// In the order in which they are walked.
  let legs: [Leg]

  init(lane: Int, blocks: BlockTable, assignment: LaneAssignment) {
    // Blocks of the lane's own node first: what is far away is read only to help.
    let teams = assignment.blockTeams
    let own = teams.filter { $0.lanes.contains(lane) }
    let others = teams.filter { !$0.lanes.contains(lane) }
    legs = (own + others).flatMap { team in Self.legs(lane, team, blocks) }
  }

  private static func legs(_ lane: Int, _ team: LaneAssignment.Team, _ blocks: BlockTable) -> [Leg] {
    let counts = team.blocks.map { block in
      (blocks.spanCount(block: block) + PageGeometry.spansPerStripe - 1) / PageGeometry.spansPerStripe
    }
    let total = counts.reduce(0, +)
    let regionCount = (team.lanes.count + 1) / 2
    let place = team.lanes.firstIndex(of: lane)
    return (0..<regionCount).flatMap { step in
      let region = ((place ?? lane) / 2 + step) % regionCount
      // Its own region from one end, by twos; those of others from behind.
      let isDescending = step > 0 || place.map { !$0.isMultiple(of: 2) } ?? true
      let range = total * region / regionCount..<total * (region + 1) / regionCount
      let ascending = split(range, team.blocks, counts, isDescending)
      return isDescending ? ascending.reversed() : ascending
    }
  }

  /// The parts of `range`, which counts stripes over all blocks of a team, block by block.
  private static func split(_ range: Range<Int>, _ blocks: [Int], _ counts: [Int], _ isDescending: Bool) -> [Leg] {
    var first = 0
    return zip(blocks, counts).compactMap { block, count in
      defer { first += count }
      let part = range.clamped(to: first..<first + count)
      guard !part.isEmpty else { return nil }
      return Leg(block: block, stripes: part.lowerBound - first..<part.upperBound - first, isDescending: isDescending)
    }
  }
}
