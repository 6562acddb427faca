// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

@testable import Convergence

@Suite("What is said about a migration's end")
struct VerdictTests {
  private static func reading(_ megabytes: Double, link: Double = 118, throttle: Double = 0) -> ConvergenceReading {
    ConvergenceReading(
      dirtyRate: megabytes * 1e6 * (1 - throttle), wireRate: link * 1e6, hotRatio: 1, workingSet: 512e6,
      throttle: throttle, pending: 512e6, fixedDowntime: 0.002, downtimeLimit: 0.3)
  }

  /// A guest that writes at random, and walks that look at its pages one by one, taking time for those that are dirty.
  /// - Returns: the share that is dirty after a walk, on average over some walks.
  private static func play(ratio: Double, pageCount: Int = 4000, walks: Int = 24) -> Double {
    var generator = SeededGenerator(seed: 7)
    var isDirty = [Bool](repeating: true, count: pageCount)
    var due = 0.0
    var left = 0
    for walk in 0..<walks {
      for page in 0..<pageCount where isDirty[page] {
        isDirty[page] = false
        due += ratio
        while due >= 1 {
          isDirty[Int(generator.next() % UInt64(pageCount))] = true
          due -= 1
        }
      }
      if walk >= walks / 2 { left += isDirty.count { $0 } }
    }
    return Double(left) / Double(walks - walks / 2) / Double(pageCount)
  }

  @Test("A plateau is where iterations end up", arguments: [1.2, 1.7, 3.4, 8])
  func plateau(ratio: Double) {
    let found = Plateau(dirtyRate: ratio * 1e8, transferRate: 1e8, workingSet: 5e8).left / 5e8
    let played = Self.play(ratio: ratio)
    #expect(abs(found - played) < 0.02, "\(found), played \(played)")
    #expect(abs(Plateau.ratio(leaving: found) - ratio) < ratio * 0.001)
  }

  @Test("The forecast's model and the verdict's say the same of such a guest", arguments: [1.4, 2, 4, 8])
  func forecast(ratio: Double) throws {
    let input = ForecastInput(
      memoryPages: 262_144, curve: .random(pagesPerSecond: ratio * 30_000, workingSet: 131_072),
      bulkBytesPerPage: 4096, hotBytesPerPage: 4096, linkBytesPerSecond: 30_000 * 4096)
    let shortfall = try #require(Forecast(input).run().shortfall)
    let verdict = Verdict(
      ConvergenceReading(
        dirtyRate: ratio * 30_000 * 4096, transferRate: 30_000 * 4096, workingSet: 131_072 * 4096, fixedDowntime: 0.003),
      policy: [])
    let (downtime, throttle) = try (#require(verdict.reachableDowntime), #require(verdict.neededThrottle))
    #expect(abs(shortfall.expectedDowntimeSeconds - downtime) < 0.1 * downtime)
    #expect(abs(try #require(shortfall.throttlePercentNeeded) / 100 - throttle) < 0.03)
    #expect(abs(try #require(shortfall.linkFactorNeeded) - #require(verdict.neededBandwidth)) < 0.1 * ratio)
  }

  @Test("A guest that writes less than is sent leaves nothing", arguments: [0, 0.3, 0.99])
  func noPlateau(ratio: Double) {
    #expect(Plateau(dirtyRate: ratio * 1e8, transferRate: 1e8, workingSet: 5e8).left == 0)
  }

  @Test("It says that it cannot, why, and what would do", arguments: [200.0, 400, 800])
  func cannot(megabytes: Double) throws {
    let reading = Self.reading(megabytes)
    let verdict = Verdict(reading, policy: [])
    #expect(verdict.kind == .cannotConverge)
    let throttle = try #require(verdict.neededThrottle)
    let bandwidth = try #require(verdict.neededBandwidth)
    let downtime = try #require(verdict.reachableDowntime)
    // What it says would do, does: each by itself, and a little less of it does not.
    func converges(_ change: (inout ConvergenceReading) -> Void) -> Bool {
      var changed = reading
      change(&changed)
      return Verdict(changed, policy: []).kind == .converging
    }
    func throttled(_ share: Double) -> Bool {
      converges { changed in
        changed.throttle = share
        changed.dirtyRate = megabytes * 1e6 * (1 - share)
      }
    }
    #expect(throttled(throttle + 0.01) && !throttled(throttle - 0.02))
    #expect(
      converges { $0.wireRate = 118e6 * bandwidth * 1.01 } && !converges { $0.wireRate = 118e6 * bandwidth * 0.97 })
    #expect(converges { $0.downtimeLimit = downtime * 1.01 } && !converges { $0.downtimeLimit = downtime * 0.98 })
    let sentence = verdict.sentence(reading)
    #expect(sentence.hasPrefix("cannot converge: dirty \(Int(megabytes)) MB/s against 118 MB/s; needs a throttle of ~"))
  }

  @Test("With a policy that can still throttle, it is stalled")
  func stalled() {
    #expect(Verdict(Self.reading(400, throttle: 0.2), policy: .autoConverge).kind == .stalled)
    #expect(Verdict(Self.reading(400, throttle: 0.2), policy: .downtimeRamp).kind == .cannotConverge)
    #expect(Verdict(Self.reading(20_000, throttle: 0.99), policy: .dirtyLimit).kind == .cannotConverge)
  }

  @Test("While nothing is known it says so")
  func measuring() {
    #expect(Verdict(ConvergenceReading(), policy: []).kind == .measuring)
    #expect(Verdict(ConvergenceReading(dirtyRate: 1e6), policy: []).kind == .measuring)
  }

  @Test("A guest that does not write converges, in the time that its memory takes")
  func idle() throws {
    var reading = Self.reading(0)
    reading.pending = 1180e6
    let verdict = Verdict(reading, policy: [])
    #expect(verdict.kind == .converging)
    #expect((9.5...10.5).contains(try #require(verdict.timeToConverge)))
  }

  @Test("It takes no time, however slowly it converges", arguments: [0, 117.99, 118.01, 119, 400])
  func quick(megabytes: Double) {
    var reading = Self.reading(megabytes)
    reading.downtimeLimit = 0.01
    let took = ContinuousClock().measure { for _ in 0..<50 { _ = Verdict(reading, policy: []) } }
    // It is made 20 times a second. Optimised it takes some microseconds.
    #expect(took < .milliseconds(250), "\(took)")
  }
}
