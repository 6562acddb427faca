// SPDX-License-Identifier: Apache-2.0
public import PageModel

/// Which lane a span belongs to, fixed for a whole migration, and which channel a lane feeds as long as nobody changes
/// their number.
///
/// So the pages of one span never overtake each other (one lane, one channel, TCP's order), and what a lane
/// remembers about its pages needs no lock. Stripes of 2 MiB go round the lanes: round those of their block's home
/// node, over all blocks of that home, or round all lanes. A destination has no part in it: what it checks is the channel
/// of a lane.
public struct LaneAssignment: Sendable {
  public let laneCount: Int
  public let channelCount: Int
  /// The team of each block: the lanes that share it.
  private let teams: [Int]
  /// Number of each block's first stripe, counted over all blocks of its team.
  private let firstStripes: [Int]
  /// By team: its lanes lie at `starts[team]..<starts[team + 1]` of `members`.
  private let starts: [Int]
  private let members: [Int]
  /// By team and lane: the lane's place in the team, or -1; and the stripes that the lane has in teams before it.
  private let places: [Int]
  private let earlierStripes: [Int]
  /// By lane: stripes of all its teams.
  private let stripeCounts: [Int]

  /// - Parameter homes: which lanes and blocks belong together.
  public init(blocks: BlockTable, laneCount: Int, channelCount: Int, homes: LaneHomes = .none) {
    precondition(channelCount > 0 && laneCount >= channelCount, "every channel needs a lane")
    self.laneCount = laneCount
    self.channelCount = channelCount
    let laneHomes = (0..<laneCount).map { homes.lanes.indices.contains($0) ? homes.lanes[$0] : nil }
    let blockHomes = blocks.blocks.indices.map { block -> Int? in
      let home = homes.blocks.indices.contains(block) ? homes.blocks[block] : nil
      return home.flatMap { laneHomes.contains($0) ? $0 : nil }
    }
    // The team of all lanes, and one for each home.
    let names = Set(blockHomes.compactMap { $0 }).sorted()
    let lists = [Array(0..<laneCount)] + names.map { name in (0..<laneCount).filter { laneHomes[$0] == name } }
    let teams = blockHomes.map { home in home.flatMap { names.firstIndex(of: $0) }.map { $0 + 1 } ?? 0 }
    var stripes = [Int](repeating: 0, count: lists.count)
    firstStripes = zip(blocks.blocks, teams).map { block, team in
      defer { stripes[team] += (block.spanCount + PageGeometry.spansPerStripe - 1) / PageGeometry.spansPerStripe }
      return stripes[team]
    }
    var (places, earlier) = ([Int](), [Int]())
    var counts = [Int](repeating: 0, count: laneCount)
    for (list, stripes) in zip(lists, stripes) {
      earlier += counts
      var row = [Int](repeating: -1, count: laneCount)
      for (place, lane) in list.enumerated() {
        row[lane] = place
        counts[lane] += (stripes - place + list.count - 1) / list.count
      }
      places += row
    }
    self.teams = teams
    self.places = places
    starts = lists.reduce(into: [0]) { $0.append(($0.last ?? 0) + $1.count) }
    members = lists.flatMap { $0 }
    earlierStripes = earlier
    stripeCounts = counts
  }

  /// Lanes that share blocks, and which.
  struct Team {
    var lanes: [Int]
    var blocks: [Int]
  }

  /// The teams that have blocks.
  var blockTeams: [Team] {
    (0..<starts.count - 1).compactMap { team in
      let blocks = teams.indices.filter { teams[$0] == team }
      return blocks.isEmpty ? nil : Team(lanes: Array(members[starts[team]..<starts[team + 1]]), blocks: blocks)
    }
  }

  private func memberCount(_ team: Int) -> Int { starts[team + 1] - starts[team] }

  /// A span's stripe, counted over all blocks of its team.
  private func stripe(_ block: Int, _ span: Int) -> Int { firstStripes[block] + span / PageGeometry.spansPerStripe }

  /// The lane of a span.
  public func lane(block: Int, span: Int) -> Int {
    let team = teams[block]
    return members[starts[team] + stripe(block, span) % memberCount(team)]
  }

  /// Pages that a lane has to number: those of all its stripes, whole.
  func pageCount(ofLane lane: Int) -> Int { stripeCounts[lane] * Self.pagesPerStripe }

  /// The number, within its lane, of a span's first page: consecutive over the lane's stripes.
  func pageNumber(block: Int, span: Int) -> Int {
    let (team, stripe) = (teams[block], stripe(block, span))
    let (round, place) = stripe.quotientAndRemainder(dividingBy: memberCount(team))
    let earlier = earlierStripes[team * laneCount + members[starts[team] + place]]
    return (earlier + round) * Self.pagesPerStripe
      + span % PageGeometry.spansPerStripe * PageGeometry.pagesPerSpan
  }

  private static let pagesPerStripe = PageGeometry.spansPerStripe * PageGeometry.pagesPerSpan

  /// The channel, from 0, that `lane` feeds at first.
  public func channel(ofLane lane: Int) -> Int { lane % channelCount }

  /// Spans from one of a lane's stripes of a block to its next.
  func step(block: Int) -> Int { memberCount(teams[block]) * PageGeometry.spansPerStripe }

  /// The first span of each of the lane's stripes of a block with `spanCount` spans, ascending; none if the block belongs
  /// to other lanes.
  func stripes(ofLane lane: Int, block: Int, spanCount: Int) -> StrideTo<Int> {
    let team = teams[block]
    let count = memberCount(team)
    let place = places[team * laneCount + lane]
    guard place >= 0 else { return stride(from: 0, to: 0, by: count) }
    let first = ((place - firstStripes[block]) % count + count) % count
    return stride(from: first * PageGeometry.spansPerStripe, to: spanCount, by: step(block: block))
  }
}
