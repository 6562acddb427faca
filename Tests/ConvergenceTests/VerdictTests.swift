// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import Convergence

@Suite("What is said about a migration's end")
struct VerdictTests {
  private static func reading(_ megabytes: Double, link: Double = 118, throttle: Double = 0) -> ConvergenceReading {
    ConvergenceReading(
      dirtyRate: megabytes * 1e6 * (1 - throttle), wireRate: link * 1e6, hotRatio: 1, workingSet: 512e6,
      throttle: throttle, pending: 512e6, fixedDowntime: 0.002, downtimeLimit: 0.3)
  }

  /// Iterations of a guest that writes at random, page by page: what is left after each, as a share of the set.
  private static func simulate(dirty: Double, transfer: Double, workingSet: Double) -> Double {
    var left = workingSet
    for _ in 0..<2000 { left = DirtyWindow.bytes(rate: dirty, workingSet: workingSet, seconds: left / transfer) }
    return left
  }

  @Test("A plateau is where iterations end up", arguments: [1.05, 1.2, 1.7, 3.4, 8])
  func plateau(ratio: Double) {
    let found = Plateau(dirtyRate: ratio * 1e8, transferRate: 1e8, workingSet: 5e8).left
    let simulated = Self.simulate(dirty: ratio * 1e8, transfer: 1e8, workingSet: 5e8)
    #expect(abs(found - simulated) < 5e8 * 0.002)
    #expect(abs(Plateau.ratio(leaving: found / 5e8) - ratio) < ratio * 0.01)
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
}
