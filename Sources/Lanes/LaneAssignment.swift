// SPDX-License-Identifier: Apache-2.0
public import PageModel

/// Which lane a span belongs to, and which channel a lane feeds: fixed for a whole migration.
///
/// So the pages of one span never overtake each other (one lane, one channel, TCP's order), and what a lane
/// remembers about its pages needs no lock. Stripes of 2 MiB go round the lanes, over all blocks.
public struct LaneAssignment: Sendable {
  public let laneCount: Int
  public let channelCount: Int
  /// Number of each block's first stripe, counted over all blocks.
  private let firstStripes: [Int]
  private let stripeCount: Int

  public init(blocks: BlockTable, laneCount: Int, channelCount: Int) {
    precondition(channelCount > 0 && laneCount >= channelCount, "every channel needs a lane")
    self.laneCount = laneCount
    self.channelCount = channelCount
    var next = 0
    firstStripes = blocks.blocks.map { block in
      defer { next += (block.spanCount + PageGeometry.spansPerStripe - 1) / PageGeometry.spansPerStripe }
      return next
    }
    stripeCount = next
  }

  /// The lane of a span.
  public func lane(block: Int, span: Int) -> Int {
    (firstStripes[block] + span / PageGeometry.spansPerStripe) % laneCount
  }

  /// Pages that a lane has to number: those of all its stripes, whole.
  func pageCount(ofLane lane: Int) -> Int {
    (stripeCount - lane + laneCount - 1) / laneCount * Self.pagesPerStripe
  }

  /// The number, within its lane, of a span's first page: consecutive over the lane's stripes.
  func pageNumber(block: Int, span: Int) -> Int {
    let stripe = firstStripes[block] + span / PageGeometry.spansPerStripe
    return stripe / laneCount * Self.pagesPerStripe + span % PageGeometry.spansPerStripe * PageGeometry.pagesPerSpan
  }

  private static let pagesPerStripe = PageGeometry.spansPerStripe * PageGeometry.pagesPerSpan

  /// The channel, from 0, that `lane` feeds.
  public func channel(ofLane lane: Int) -> Int { lane % channelCount }

  /// The first span of each of the lane's stripes of a block with `spanCount` spans, ascending.
  func stripes(ofLane lane: Int, block: Int, spanCount: Int) -> StrideTo<Int> {
    let first = ((lane - firstStripes[block]) % laneCount + laneCount) % laneCount
    return stride(
      from: first * PageGeometry.spansPerStripe, to: spanCount, by: laneCount * PageGeometry.spansPerStripe)
  }
}
