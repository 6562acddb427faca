// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import Convergence

@Suite("When the guest is paused")
struct SwitchoverTestTests {
  private static let millisecond: UInt64 = 1_000_000

  /// A test that has seen an iteration of `pages` in `milliseconds`.
  private static func test(limit: UInt64, pages: Int, milliseconds: UInt64) -> SwitchoverTest {
    var test = SwitchoverTest(limit: limit * millisecond, roundTrip: 100_000)
    test.note(pages: pages, nanoseconds: milliseconds * millisecond)
    return test
  }

  @Test("Nothing is left: at once")
  func idle() {
    var test = Self.test(limit: 300, pages: 262_144, milliseconds: 1000)
    #expect(test.decide(hot: 0, cool: 0, sync: Self.millisecond) == .switchOver)
  }

  @Test("More is left than fits into the downtime: another iteration")
  func tooMuch() {
    var test = Self.test(limit: 300, pages: 100_000, milliseconds: 1000)
    #expect(test.decide(hot: 0, cool: 50_000, sync: 0) == .iterate(holdBack: false))
    let expected = test.expected ?? 0
    #expect((495 * Self.millisecond...505 * Self.millisecond).contains(expected), "\(expected)")
  }

  @Test("While iterations shorten the downtime they go on, below the limit as well, and not for nothing")
  func shrinks() {
    var test = Self.test(limit: 300, pages: 100_000, milliseconds: 1000)
    var decisions: [SwitchoverTest.Decision] = []
    for left in [60_000, 20_000, 6000, 5500] { decisions.append(test.decide(hot: 0, cool: left, sync: 0)) }
    #expect(
      decisions == [
        .iterate(holdBack: false), .iterate(holdBack: false), .iterate(holdBack: false), .switchOver,
      ])
  }

  @Test("A guest that is always as dirty is paused as soon as it fits")
  func steady() {
    var test = Self.test(limit: 300, pages: 100_000, milliseconds: 1000)
    #expect(test.decide(hot: 0, cool: 28_000, sync: 0) == .iterate(holdBack: false))
    #expect(test.decide(hot: 0, cool: 28_000, sync: 0) == .switchOver)
  }

  @Test("Hot spans are held back while the others do not fit, and not for ever")
  func holdsBack() {
    var test = Self.test(limit: 300, pages: 100_000, milliseconds: 1000)
    let decisions = (0..<5).map { _ in test.decide(hot: 40_000, cool: 40_000, sync: 0) }
    #expect(
      decisions == [
        .iterate(holdBack: true), .iterate(holdBack: true), .iterate(holdBack: true), .iterate(holdBack: false),
        .iterate(holdBack: true),
      ])
    // Once the others fit, everything goes: the test is about all that is left.
    #expect(test.decide(hot: 40_000, cool: 1000, sync: 0) == .iterate(holdBack: false))
  }

  @Test("Small iterations say nothing about the time per page")
  func tellingOnly() {
    var test = Self.test(limit: 300, pages: 100_000, milliseconds: 1000)
    test.note(pages: 10, nanoseconds: 200 * Self.millisecond)
    _ = test.decide(hot: 0, cool: 10_000, sync: 0)
    let expected = test.expected ?? 0
    #expect((95 * Self.millisecond...105 * Self.millisecond).contains(expected))
  }

  @Test("A long way is in what is expected, twice; it cannot be shortened, so it keeps nobody from the switchover")
  func longWay() {
    var test = SwitchoverTest(limit: 100 * Self.millisecond, roundTrip: 150 * Self.millisecond)
    test.note(pages: 100_000, nanoseconds: 1150 * Self.millisecond)
    #expect(test.decide(hot: 0, cool: 20_000, sync: 0) == .iterate(holdBack: false))
    test.note(pages: 20_000, nanoseconds: 350 * Self.millisecond)
    #expect(test.decide(hot: 0, cool: 10, sync: 0) == .switchOver)
    let expected = test.expected ?? 0
    #expect((300 * Self.millisecond...305 * Self.millisecond).contains(expected), "\(expected)")
  }

  @Test("A link that is all but dead makes it long, and it stays a number", arguments: [1e-300, 1e-9, 1000])
  func deadLink(rate: Double) {
    var test = SwitchoverTest(limit: 300 * Self.millisecond, roundTrip: 100_000)
    test.linkRate = 400e6
    test.note(pages: 100_000, nanoseconds: 1000 * Self.millisecond, wireBytes: 409_600_000)
    test.linkRate = rate
    #expect(test.decide(hot: 0, cool: 50_000, sync: 0) == .iterate(holdBack: false))
    let expected = test.expected ?? 0
    #expect((200_000_000 * Self.millisecond...1_100_000_000_000 * Self.millisecond).contains(expected), "\(expected)")
  }
}
