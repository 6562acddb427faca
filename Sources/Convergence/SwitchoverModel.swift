// SPDX-License-Identifier: Apache-2.0

/// The engine's switchover test, as a ``Forecast`` plays it: same rules, same constants (`SwitchoverTest` in Migration;
/// a test compares the two).
package struct SwitchoverModel: Sendable {
  package enum Decision: Equatable, Sendable {
    case switchOver
    case iterate(holdBack: Bool)
  }

  private static let negligible: UInt64 = 5_000_000
  private static let worthwhile = 0.7
  private static let holdBackMax = 3

  /// Longest downtime that is accepted now, in nanoseconds.
  package var limit: UInt64
  private let handOver: UInt64
  private var iteration: IterationTime
  private var last: UInt64?
  private var heldBack = 0
  package private(set) var expected: UInt64?

  /// - Parameters: both in nanoseconds.
  package init(limit: UInt64, roundTrip: UInt64) {
    self.limit = limit
    handOver = min(roundTrip, 10_000_000_000) + IterationTime.handOver
    iteration = IterationTime(roundTrip: roundTrip)
  }

  package mutating func note(pages: Int, nanoseconds: UInt64) {
    iteration.note(pages: pages, nanoseconds: nanoseconds)
  }

  package mutating func decide(hot: Int, cool: Int, sync: UInt64) -> Decision {
    let now = time(hot + cool) + sync
    let least = time(0) + sync
    defer { last = now }
    expected = now
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

  private func time(_ pages: Int) -> UInt64 { handOver + UInt64(iteration.time(pages)) }
}
