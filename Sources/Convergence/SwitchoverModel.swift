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
  private static let telling = 1024

  private let limit: UInt64
  private var fixed: UInt64
  private let roundTrip: UInt64
  private var perPage = 0.0
  private var last: UInt64?
  private var heldBack = 0
  package private(set) var expected: UInt64?

  /// - Parameters: both in nanoseconds.
  package init(limit: UInt64, roundTrip: UInt64) {
    self.limit = limit
    self.roundTrip = min(roundTrip, 10_000_000_000)
    fixed = self.roundTrip + 1_000_000
  }

  package mutating func note(pages: Int, nanoseconds: UInt64) {
    guard pages >= Self.telling else {
      fixed = max(roundTrip, min(fixed, nanoseconds))
      return
    }
    perPage = Double(nanoseconds - min(nanoseconds, fixed)) / Double(pages)
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

  private func time(_ pages: Int) -> UInt64 { 2 * fixed + UInt64(Double(pages) * perPage) }
}
