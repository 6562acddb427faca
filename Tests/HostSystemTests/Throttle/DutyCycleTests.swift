// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import HostSystem

@Suite struct DutyCycleTests {
  @Test("A turn is 20 ms, or as long as 1 ms of running needs, and the share of stopping is what was asked")
  func turns() {
    for percent in 1...99 {
      let cycle = DutyCycle(percent: percent)
      let turn = cycle.nextStop + cycle.runTime
      #expect(cycle.runTime >= 1_000_000)
      #expect(turn <= (percent <= 95 ? 20_000_000 : 100_000_000), "\(percent) %")
      #expect(abs(Double(cycle.nextStop) / Double(turn) * 100 - Double(percent)) < 0.01, "\(percent) %")
    }
  }

  @Test("Who wakes late makes it good: over many turns the share is what was asked", arguments: [20, 50, 80, 95, 99])
  func lateness(percent: Int) {
    var cycle = DutyCycle(percent: percent)
    var (stopped, ran): (Int64, Int64) = (0, 0)
    for turn in 0..<2000 {
      let stop = cycle.nextStop
      // Up to 2 ms late, now here, now there.
      let (lateStop, lateRun) = (Int64(turn * 7919 % 5) * 500_000, Int64(turn * 104729 % 7) * 300_000)
      let (s, r) = (stop > 0 ? stop + lateStop : 0, cycle.runTime + lateRun)
      cycle.account(stopped: s, ran: r)
      stopped += s
      ran += r
    }
    let share = Double(stopped) / Double(stopped + ran) * 100
    #expect(abs(share - Double(percent)) < 1, "\(share)")
  }

  @Test("After a long time without a turn, no stop is longer than two")
  func bounded() {
    var cycle = DutyCycle(percent: 90)
    cycle.account(stopped: 0, ran: 3_600_000_000_000)
    #expect(cycle.nextStop == 36_000_000)
    cycle.account(stopped: 3_600_000_000_000, ran: 0)
    cycle.account(stopped: 0, ran: 5 * 2_000_000)
    #expect(cycle.nextStop > 0, "and what was too much is forgotten as well")
    cycle.percent = 50
    #expect(cycle.nextStop == 10_000_000)
  }
}

@Suite struct CounterMeterTests {
  @Test("Rates: the last second, and the highest of a fifth of a second")
  func rates() {
    var meter = CounterMeter()
    #expect(meter.recent == nil && meter.highest == nil)
    var count: UInt64 = 0
    for step in 0..<44 {
      meter.note(count, at: UInt64(step) * 100_000_000)
      // One CPU for a while, then a quarter.
      count += step < 30 ? 100_000_000 : 25_000_000
    }
    #expect(abs((meter.recent ?? 0) - 0.25) < 0.01)
    #expect(abs((meter.highest ?? 0) - 1) < 0.01)
    meter.restart()
    meter.note(5, at: 9_000_000_000)
    #expect(meter.recent == nil && meter.highest == nil)
  }
}
