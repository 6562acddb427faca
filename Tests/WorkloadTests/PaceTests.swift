// SPDX-License-Identifier: Apache-2.0
import Glibc
import HostSystem
import Testing

@testable import Workload

@Suite("The pace of embedded guests")
struct PaceTests {
  /// 40.96 MB/s: 10 pages in a millisecond.
  private static let plan = WorkloadPlan(pattern: .sparse, megabytesPerSecond: 40.96, threadCount: 1)

  /// Pages written when time goes by in these steps, of nanoseconds.
  private static func pages(_ steps: [UInt64], plan: WorkloadPlan = plan) -> Int {
    var pace = Pace(plan, now: 0)
    var now: UInt64 = 0
    var written = 0
    for step in steps {
      now += step
      _ = pace.advance(to: now)
      while pace.due(limit: 16) > 0 {
        let due = pace.due(limit: 16)
        pace.use(pages: due)
        written += due
      }
    }
    return written
  }

  @Test("Pages fall due at the rate, however time is cut up", arguments: [3_000, 100_000, 1_000_000, 7_700_000])
  func even(step: UInt64) {
    let steps = Int(1_000_000_000 / step)
    let written = Self.pages(Array(repeating: step, count: steps))
    #expect(abs(written - Int(step) * steps / 100_000) <= 1)
  }

  @Test("A stall is made up for 10 ms, not more")
  func stall() {
    #expect(Self.pages([10_000_000]) == 100)
    #expect(Self.pages([5_000_000_000]) == 100)
  }

  @Test("A rate below a page in 10 ms is kept")
  func slow() {
    var plan = Self.plan
    plan.megabytesPerSecond = 0.004096
    #expect(Self.pages(Array(repeating: 1_000_000, count: 10_500), plan: plan) == 10)
    var pace = Pace(plan, now: 0)
    _ = pace.advance(to: 1)
    #expect(pace.rest > 900_000_000)
    plan.megabytesPerSecond = .leastNonzeroMagnitude
    #expect(Self.pages([.max], plan: plan) == 0)
  }

  @Test("Threads share the rate")
  func shared() {
    var plan = Self.plan
    plan.threadCount = 4
    #expect(Self.pages(Array(repeating: 1_000_000, count: 1000), plan: plan) == 2500)
  }

  @Test("A throttled thread runs for its share of 10 ms", arguments: [1, 50, 90, 99])
  func dutyCycle(percent: Int) {
    var duty = DutyCycle(now: 0)
    var now: UInt64 = 0
    var slept: UInt64 = 0
    while now < 1_000_000_000 {
      now += 10_000
      let rest = duty.rest(percent: percent, now: now)
      guard rest > 0 else { continue }
      now += rest
      slept += rest
      duty.restart(now: now)
    }
    #expect(abs(Double(slept) / Double(now) * 100 - Double(percent)) < 0.5)
    #expect(duty.rest(percent: 0, now: now + 50_000_000) == 0)
  }

  private static func rate(_ guest: WorkloadGuest, milliseconds: UInt64) -> Double {
    let before = (HostClock.now(), guest.statistics.writes)
    HostClock.sleep(nanoseconds: milliseconds * 1_000_000)
    let after = (HostClock.now(), guest.statistics.writes)
    return Double(after.1 - before.1) / Double(after.0 - before.0) * 1e9
  }

  @Test("A guest keeps its rate, and throttling takes its share", arguments: [1, 2])
  func live(threads: Int) throws {
    let memory = try TestMemory()
    // 5000 pages a second: within reach of a build without optimisation on a busy machine.
    let guest = try WorkloadGuest(.small(.sparse, rate: 20.48, threads: threads, seed: 41), memory: memory.memory)
    guest.fill()
    guest.start()
    let full = Self.rate(guest, milliseconds: 300)
    // Whoever shares the machine can take time away, nobody adds to it.
    #expect((1500...5300).contains(full), "\(full) pages a second of 5000")
    guest.throttle(percent: 75)
    let quarter = Self.rate(guest, milliseconds: 400)
    #expect((300...1700).contains(quarter), "\(quarter) pages a second of 1250")
    #expect(quarter < 0.6 * full, "\(quarter) pages a second, \(full) before")
    guest.throttle(percent: 0)
    let again = Self.rate(guest, milliseconds: 300)
    #expect((1500...5300).contains(again), "\(again) pages a second of 5000")
    guest.stop()
    #expect(try guest.verify(everything: true).isSound)
  }

  @Test("Statistics say how fast the guest writes, and how long it stood still")
  func statistics() throws {
    let memory = try TestMemory()
    let guest = try WorkloadGuest(.small(.sparse, rate: 20.48, seed: 42), memory: memory.memory)
    guest.fill()
    guest.start()
    HostClock.sleep(nanoseconds: 200_000_000)
    #expect((500...6000).contains(guest.statistics.pagesPerSecond), "\(guest.statistics.pagesPerSecond)")
    try guest.pause()
    HostClock.sleep(nanoseconds: 300_000_000)
    try guest.resume()
    HostClock.sleep(nanoseconds: 50_000_000)
    #expect(guest.statistics.longestGap > .milliseconds(295))
    #expect(guest.statistics.longestGap < .seconds(5))
    guest.stop()
  }
}
