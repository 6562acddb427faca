// SPDX-License-Identifier: Apache-2.0

/// Decides after each sync whether the guest is paused now, or another iteration comes first.
///
/// What is left takes one more iteration, and the hand-over; ``IterationTime`` knows what iterations take. A pure model:
/// the session feeds it and does what it says, and a ``Forecast`` plays it.
package struct SwitchoverTest: Sendable {
  /// What comes next.
  package enum Decision: Equatable, Sendable {
    case switchOver
    /// - Parameter holdBack: leave hot spans pending: they would be stale before this iteration is over.
    case iterate(holdBack: Bool)
  }

  /// Below this there is nothing to gain from another iteration, in nanoseconds.
  private static let negligible: UInt64 = 5_000_000
  /// An iteration that leaves more than this share of the downtime before it has brought too little.
  private static let worthwhile = 0.7
  /// Iterations in a row that hold hot spans back. Then everything goes, so that the test is about all that is left
  /// and a span that is always dirty is not always left out.
  private static let holdBackMax = 3
  /// A link that differs by more than this is another.
  private static let otherLink = 0.3
  /// Share of an iteration's time that its bytes take on the link if that is the limit.
  private static let linkBound = 0.8
  /// Pages from which on an iteration says something about the time per page.
  private static let telling = 1024

  /// Longest time that is told, in nanoseconds: some thirty years.
  private static let timeMax = 1e18

  /// Longest downtime that is accepted now, in nanoseconds.
  package var limit: UInt64
  /// Bytes per second that the link carries now, if that is known.
  package var linkRate: Double?
  /// Nanoseconds that the hand-over adds.
  private let handOver: UInt64
  private var iteration: IterationTime
  /// Bytes on the wire of such a page, and the time that it took there when the link was what took the time.
  private var wirePerPage = 0.0
  private var measuredRate: Double?
  private var isLinkBound = false
  private var last: UInt64?
  private var heldBack = 0
  /// What the downtime would be now, in nanoseconds; nil before the first sync.
  package private(set) var expected: UInt64?

  /// - Parameter roundTrip: to the destination and back, in nanoseconds.
  package init(limit: UInt64, roundTrip: UInt64) {
    self.limit = limit
    handOver = min(roundTrip, 10_000_000_000) + IterationTime.handOver
    iteration = IterationTime(roundTrip: roundTrip)
  }

  /// Notes an iteration.
  /// - Parameters:
  ///   - pages: that were pending and were dealt with, whether they travelled or not.
  ///   - nanoseconds: from its begin until the destination acknowledged all of it.
  ///   - wireBytes: what travelled.
  package mutating func note(pages: Int, nanoseconds: UInt64, wireBytes: UInt64 = 0) {
    iteration.note(pages: pages, nanoseconds: nanoseconds)
    guard pages >= Self.telling else { return }
    wirePerPage = Double(wireBytes) / Double(pages)
    measuredRate = linkRate
    isLinkBound = linkRate.map { wirePerPage / $0 * 1e9 > iteration.perPage * Self.linkBound } ?? false
  }

  /// - Parameters:
  ///   - hot, cool: pages that are pending in hot spans, and in others.
  ///   - sync: nanoseconds that the sync took: the last one will take as long.
  package mutating func decide(hot: Int, cool: Int, sync: UInt64) -> Decision {
    let now = time(hot + cool) + sync
    let least = time(0) + sync
    defer { last = now }
    expected = now
    // What pages add to it is all that iterations can shorten: on a long way the rest may be over the limit by itself.
    if now <= max(limit, least + Self.negligible) {
      let isShrinking = last.map { Double(now) < Double($0) * Self.worthwhile } ?? true
      if now <= least + Self.negligible || !isShrinking { return .switchOver }
      heldBack = 0
      return .iterate(holdBack: false)
    }
    let holdBack = hot > 0 && cool > 0 && time(cool) > max(limit, least) && heldBack < Self.holdBackMax
    heldBack = holdBack ? heldBack + 1 : 0
    return .iterate(holdBack: holdBack)
  }

  /// What the downtime takes without any page.
  package var least: UInt64 { time(0) }

  private func time(_ pages: Int) -> UInt64 {
    var each = iteration.perPage
    // The link may have become slower or faster since: what an operator has changed, not what a measurement varies by.
    if let linkRate, linkRate > 0, let measuredRate, abs(linkRate / measuredRate - 1) > Self.otherLink {
      let now = min(Self.timeMax, wirePerPage / linkRate * 1e9)
      each = isLinkBound ? now : max(now, each)
    }
    // A link that is all but dead makes this as long as one likes: it stays a number.
    return handOver + UInt64(min(Self.timeMax, iteration.fixed + Double(pages) * each))
  }
}
