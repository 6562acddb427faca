// SPDX-License-Identifier: Apache-2.0
import Convergence
import Testing

@Suite("Forecasts of a migration")
struct ForecastTests {
  /// A guest of 1 GiB that writes at random over 128 MiB, on a link of 1 Gbit/s.
  private static func input(megabytes rate: Double = 200, workingSet: Double = 32_768) -> ForecastInput {
    ForecastInput(
      memoryPages: 262_144, zeroPages: 65_536,
      curve: .random(pagesPerSecond: rate * 1e6 / 4096, workingSet: workingSet),
      linkBytesPerSecond: 125e6, downtimeLimitSeconds: 0.3)
  }

  @Test("An idle guest takes its bulk stage and a moment")
  func idle() throws {
    var input = Self.input()
    input.curve = .idle
    let outcome = Forecast(input).run()
    #expect(outcome.converges && outcome.iterations.count == 1 && outcome.shortfall == nil)
    let bulk = 196_608 * 4104 / 125e6
    #expect(abs(outcome.totalSeconds - bulk) < 0.1 && abs(outcome.wireBytes - 196_608 * 4104) < 1)
    #expect(try #require(outcome.downtime).seconds < 0.01)
  }

  @Test("What the link carries twice over converges; what exceeds it does not, and says what would help")
  func convergence() throws {
    let slow = Forecast(Self.input(megabytes: 40)).run()
    #expect(slow.converges && slow.meanThrottlePercent == 0)
    #expect(try #require(slow.downtime).seconds <= 0.31)
    #expect(slow.iterations.count > 2)

    let input = Self.input(megabytes: 400, workingSet: 131_072)
    let fast = Forecast(input).run()
    #expect(!fast.converges && fast.downtime == nil)
    let shortfall = try #require(fast.shortfall)
    // 131 072 pages of 4104 bytes take 4.3 s, in which nearly all of them are written again.
    #expect(shortfall.expectedDowntimeSeconds > 2.5 && shortfall.expectedDowntimeSeconds < 4.4)
    #expect(abs(shortfall.dirtiedBytesPerSecond - 400e6) < 1)
    #expect(abs(shortfall.carriedBytesPerSecond - 125e6 * 4096 / 4104) < 1)
    // Each of the three by itself is enough, and a little less of it is not.
    func converges(_ change: (inout ForecastInput) -> Void) -> Bool {
      var changed = input
      change(&changed)
      return Forecast(changed).run().converges
    }
    let percent = try #require(shortfall.throttlePercentNeeded)
    #expect(percent > 50 && percent < 90)
    #expect(converges { $0.steering.throttlePercent = Int(percent) })
    #expect(!converges { $0.steering.throttlePercent = Int(percent) - 2 })
    let factor = try #require(shortfall.linkFactorNeeded)
    #expect(converges { $0.linkBytesPerSecond *= factor })
    #expect(!converges { $0.linkBytesPerSecond *= factor * 0.9 })
    #expect(converges { $0.downtimeLimitSeconds = shortfall.downtimeSecondsNeeded })
    #expect(!converges { $0.downtimeLimitSeconds = shortfall.downtimeSecondsNeeded * 0.8 })
  }

  @Test("Deltas, a lower rate, a faster link and a higher limit never make it longer")
  func monotone() {
    let base = Forecast(Self.input(megabytes: 60)).run()
    #expect(base.converges)
    func total(_ change: (inout ForecastInput) -> Void) -> Double {
      var changed = Self.input(megabytes: 60)
      change(&changed)
      let outcome = Forecast(changed).run()
      #expect(outcome.converges)
      return outcome.totalSeconds
    }
    #expect(total { $0.hotBytesPerPage = 40 } < base.totalSeconds)
    #expect(total { $0.curve = $0.curve.scaled(by: 0.5) } < base.totalSeconds)
    #expect(total { $0.linkBytesPerSecond *= 2 } < base.totalSeconds)
    #expect(total { $0.downtimeLimitSeconds = 3 } <= base.totalSeconds)
  }

  @Test("What is walked early and written later is sent twice; what is written first waits, and is not")
  func places() {
    var input = Self.input()
    input.curve = .sequential(pagesPerSecond: 5000, workingSet: 16_384)
    input.spanCurve = .sequential(pagesPerSecond: 5000 / 64, workingSet: 256)
    (input.writtenFrom, input.writtenTo) = (0, 0.0625)
    let early = Forecast(input).run()
    (input.writtenFrom, input.writtenTo) = (0.9375, 1)
    let late = Forecast(input).run()
    #expect(early.converges && late.converges)
    // Nearly all of it is sent once more, or only what was written while the last of it was sent.
    #expect(early.iterations[0].dirtiedPages > 12_000 && late.iterations[0].dirtiedPages < 4000)
    #expect(early.wireBytes > late.wireBytes + 10_000 * 4104)
  }

  @Test("Throttling ends what does not end by itself, the closed loop in less time than fixed steps")
  func throttling() throws {
    var input = Self.input(megabytes: 400, workingSet: 131_072)
    input.steering.policy = .autoConverge
    let steps = Forecast(input).run()
    #expect(steps.converges)
    #expect(zip(steps.iterations, steps.iterations.dropFirst()).allSatisfy { $0.throttlePercent <= $1.throttlePercent })
    #expect(steps.iterations[0].throttlePercent == 0)
    input.steering.policy = .dirtyLimit
    let loop = Forecast(input).run()
    #expect(loop.converges && loop.totalSeconds < steps.totalSeconds)
    // The loop ends where its own formula says, and was there soon after the bulk stage.
    let aim = 100 * (1 - 0.85 * 125 * 4096 / 4104 / 400)
    #expect(loop.iterations.dropFirst(2).allSatisfy { abs($0.throttlePercent - aim) < 2 })
    #expect(loop.meanThrottlePercent > 10 && loop.meanThrottlePercent < aim)
    // What an operator sets by hand, policies leave alone.
    input.steering.throttlePercent = 30
    #expect(!Forecast(input).run().converges)
  }

  @Test("The policies' parameters are followed")
  func parameters() throws {
    var input = Self.input(megabytes: 400, workingSet: 131_072)
    input.steering.policy = .autoConverge
    let usual = Forecast(input).run()
    input.steering.autoConverge.increment = 40
    #expect(Forecast(input).run().totalSeconds < usual.totalSeconds)
    input.steering.autoConverge.limit = 50
    let limited = Forecast(input).run()
    #expect(!limited.converges && limited.iterations.last?.throttlePercent == 50)
    input.steering.policy = .dirtyLimit
    input.steering.dirtyLimit.fraction = 0.5
    let low = Forecast(input).run()
    input.steering.dirtyLimit.fraction = 0.9
    let high = Forecast(input).run()
    #expect(low.totalSeconds < high.totalSeconds)
    #expect((low.iterations.last?.throttlePercent ?? 0) > (high.iterations.last?.throttlePercent ?? 0) + 5)
  }

  @Test("What does not converge comes with means that end it, and each does what it says")
  func remedies() throws {
    let input = Self.input(megabytes: 400, workingSet: 131_072)
    let shortfall = try #require(Forecast(input).run().shortfall)
    #expect(shortfall.remedies.first?.steering.policy == .dirtyLimit)
    #expect(shortfall.remedies.contains { $0.steering.policy == .autoConverge })
    #expect(shortfall.remedies.contains { $0.steering.throttlePercent != nil })
    #expect(shortfall.remedies.contains { $0.steering.deadlineSeconds != nil })
    for remedy in shortfall.remedies {
      var changed = input
      changed.steering = remedy.steering
      changed.downtimeLimitSeconds = remedy.downtimeLimitSeconds
      let outcome = Forecast(changed).run()
      #expect(outcome.totalSeconds == remedy.totalSeconds && outcome.downtime?.seconds == remedy.downtimeSeconds)
      #expect(outcome.converges || remedy.steering.deadlineSeconds != nil)
    }
  }

  @Test("At a deadline the guest is paused and the rest is sent, or the migration is cancelled")
  func deadlines() throws {
    var input = Self.input(megabytes: 400, workingSet: 131_072)
    for deadline in [1, 8.0, 20, 3000] {
      input.steering.deadlineSeconds = deadline
      let outcome = Forecast(input).run()
      let downtime = try #require(outcome.downtime).seconds
      #expect(!outcome.converges && outcome.shortfall != nil)
      #expect(abs(outcome.totalSeconds - deadline - downtime) < 0.01, "deadline \(deadline)")
      // The rest of an iteration, and what was written in it until then: not more than all of it twice.
      #expect(downtime > 0.5 && downtime < 9, "deadline \(deadline): \(downtime)")
    }
    input.steering.cancelsAtDeadline = true
    #expect(Forecast(input).run().downtime == nil)
    // Before the deadline all is as without; one that is too early is not taken for a guest that writes too much.
    input.curve = .idle
    let usual = Forecast(input).run()
    #expect(usual.converges)
    input.steering.deadlineSeconds = 1
    let early = Forecast(input).run()
    #expect(!early.converges && early.shortfall == nil && early.secondsNeeded == usual.totalSeconds)
  }

  @Test("Where the CPUs are the limit, no link helps")
  func cpuBound() throws {
    var input = Self.input(megabytes: 400, workingSet: 131_072)
    input.hotSecondsPerPage = 50e-6
    input.linkBytesPerSecond = 10e9
    let shortfall = try #require(Forecast(input).run().shortfall)
    #expect(shortfall.linkFactorNeeded == nil && shortfall.throttlePercentNeeded != nil)
  }

  private static let steerings: [ForecastSteering] = [
    .init(), .init(policy: [.autoConverge, .downtimeRamp]), .init(policy: [.dirtyLimit, .localMinimum]),
    .init(throttlePercent: 99), .init(policy: .dirtyLimit, deadlineSeconds: 5),
    .init(deadlineSeconds: 31_536_000, cancelsAtDeadline: true),
  ]

  @Test("Extremes end, with finite figures")
  func extremes() {
    for memory in [0.0, 1, 1e10] {
      for rate in [0.0, 1e12] {
        for link in [1.0, 1e12] {
          var input = ForecastInput(
            memoryPages: memory, curve: .random(pagesPerSecond: rate, workingSet: memory), linkBytesPerSecond: link)
          for steering in Self.steerings {
            input.steering = steering
            let outcome = Forecast(input).run()
            #expect(outcome.totalSeconds.isFinite && outcome.wireBytes.isFinite)
          }
        }
      }
    }
  }

  @Test("It takes no time")
  func quick() {
    let clock = ContinuousClock()
    let took = clock.measure {
      for rate in [10.0, 100, 400, 3000] { _ = Forecast(Self.input(megabytes: rate, workingSet: 131_072)).run() }
    }
    // Without optimisation, and beside other tests; optimised it is some milliseconds each.
    #expect(took < .seconds(2), "\(took)")
  }
}
