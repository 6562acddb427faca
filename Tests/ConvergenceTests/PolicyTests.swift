// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import Convergence

@Suite("Policies")
struct PolicyTests {
  @Test("Names are read and written", arguments: ["none", "auto-converge", "dirty-limit,downtime-ramp"])
  func names(text: String) throws { #expect(try #require(ConvergencePolicy(text)).description == text) }

  @Test("Nonsense is no policy", arguments: ["", "fast", "none,none", "dirty-limit,", "auto-converge dirty-limit"])
  func nonsense(text: String) { #expect(ConvergencePolicy(text) == nil) }

  @Test("auto-converge throttles with every second hit, 20 % first and 10 % more each time, up to the limit")
  func steps() {
    var policy = AutoConverge()
    var throttle = 0
    var seen: [Int] = []
    for _ in 0..<24 {
      throttle = policy.look(dirtied: 100, sent: 100, throttle: throttle, .init())
      seen.append(throttle)
    }
    #expect(seen == [0, 20, 20, 30, 30, 40, 40, 50, 50, 60, 60, 70, 70, 80, 80, 90, 90, 99, 99, 99, 99, 99, 99, 99])
  }

  @Test("auto-converge leaves a guest alone that writes less than half of what is sent")
  func quiet() {
    var policy = AutoConverge()
    for _ in 0..<10 { #expect(policy.look(dirtied: 49, sent: 100, throttle: 0, .init()) == 0) }
  }

  @Test("tailslow takes smaller steps near the aim")
  func tailslow() {
    var parameters = AutoConverge.Parameters()
    parameters.tailslow = true
    var policy = AutoConverge()
    _ = policy.look(dirtied: 52, sent: 100, throttle: 60, parameters)
    // 40 % of the time gives 52; 50 are allowed, which 38.5 % would give.
    #expect(policy.look(dirtied: 52, sent: 100, throttle: 60, parameters) == 61)
  }

  /// A guest that the loop throttles: what it writes with a throttle.
  private func settle(
    looks: Int, from start: Double = 0, transfer: Double = 118e6, guest: (Double) -> Double
  ) throws -> [Double] {
    var throttle = start
    var seen: [Double] = []
    for _ in 0..<looks {
      let reading = ConvergenceReading(
        dirtyRate: guest(throttle), wireRate: transfer, workingSet: 5e8, throttle: throttle)
      throttle = try #require(DirtyLimit().look(reading, .init()))
      seen.append(throttle)
    }
    return seen
  }

  @Test("dirty-limit finds the least throttle that does, and holds it", arguments: [200e6, 400e6, 800e6])
  func loop(rate: Double) throws {
    let seen = try settle(looks: 20) { rate * (1 - $0) }
    let aim = 1 - 0.85 * 118e6 / rate
    #expect(abs(seen[19] - aim) < 0.01)
    #expect(seen.allSatisfy { $0 <= aim + 0.001 })
  }

  @Test("A guest with time to spare is throttled until it slows down")
  func spare() throws {
    // It writes 400 MB/s as long as it has a fifth of its time.
    let seen = try settle(looks: 80) { 400e6 * min(1, (1 - $0) / 0.2) }
    let writes = 400e6 * min(1, (1 - seen[79]) / 0.2)
    #expect(abs(writes - 0.85 * 118e6) < 0.1 * 118e6)
  }

  @Test("What is not needed any more is given back")
  func givesBack() throws {
    #expect(try settle(looks: 20, from: 0.8) { 90e6 * (1 - $0) }[19] < 0.01)
  }

  @Test("Before anything is measured nothing is decided")
  func unknown() { #expect(DirtyLimit().look(ConvergenceReading(), .init()) == nil) }

  @Test("The ramp begins low, rises when iterations bring nothing, and ends at the limit")
  func ramp() {
    var ramp = DowntimeRamp()
    var allowed: [Double] = []
    for expected in [4.0, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1] {
      ramp.note(expected: expected)
      allowed.append(ramp.allowed(limit: 0.3, policy: .downtimeRamp))
    }
    #expect(abs(allowed[2] - 0.03) < 1e-9)
    #expect(zip(allowed, allowed.dropFirst()).allSatisfy { $0 <= $1 })
    #expect(allowed.last == 0.3)
    #expect(ramp.allowed(limit: 0.3, policy: []) == 0.3)
  }

  @Test("A local minimum is taken above the limit, but not above three of them")
  func localMinimum() {
    var ramp = DowntimeRamp()
    for expected in [0.6, 0.7, 0.8, 0.75] { ramp.note(expected: expected) }
    #expect(ramp.allowed(limit: 0.3, policy: .localMinimum) == 0.3)
    ramp.note(expected: 0.55)
    #expect(ramp.allowed(limit: 0.3, policy: .localMinimum) == 0.55)
    for expected in [5.0, 6, 7, 4, 3] { ramp.note(expected: expected) }
    #expect(ramp.allowed(limit: 0.3, policy: .localMinimum) <= 0.9)
  }
}
