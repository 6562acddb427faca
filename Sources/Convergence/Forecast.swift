// SPDX-License-Identifier: Apache-2.0
import PageModel

/// Plays a pre-copy migration as the engine does it, with populations of pages instead of pages: takes well below 10 ms.
///
/// What of the engine is in it: spans that are written go last in the bulk stage, as whole spans; a stripe's log is
/// cleared just before it is read, so a page is sent in the state of its turn, and counts as dirty from then on; hot
/// spans are held back up to three times; the switchover test is the engine's own. A walk takes the same order each
/// time, so what is dirty after it is the curve's mean over the ages that pages have by then.
public struct Forecast: Sendable {
  private let input: ForecastInput

  public init(_ input: ForecastInput) { self.input = input }

  /// Runs it.
  public func run() -> ForecastOutcome {
    var outcome = simulate(input)
    guard !outcome.converges else { return outcome }
    let patient = simulate { _ in }
    if patient.converges {
      outcome.secondsNeeded = patient.totalSeconds
    } else {
      outcome.shortfall = shortfall(of: outcome)
    }
    return outcome
  }

  private func simulate(_ input: ForecastInput) -> ForecastOutcome {
    var course = ForecastCourse(input)
    course.bulk()
    while true {
      if course.isPastDeadline {
        if !input.steering.cancelsAtDeadline { course.handOver(isForced: true) }
        break
      }
      guard case .iterate(let holdBack) = course.decide() else {
        course.handOver(isForced: false)
        break
      }
      if course.isSteady || course.outcome.iterations.count >= max(2, input.iterationMax) {
        if course.skipToDeadline() { continue }
        break
      }
      course.again(holdBack: holdBack)
    }
    return course.finished
  }

  // MARK: What would help

  /// The same without a deadline, which would end it anyhow, and with a change.
  private func simulate(_ change: (inout ForecastInput) -> Void) -> ForecastOutcome {
    var changed = input
    changed.steering.deadlineSeconds = nil
    change(&changed)
    return simulate(changed)
  }

  private func converges(_ change: (inout ForecastInput) -> Void) -> Bool { simulate(change).converges }

  private func shortfall(of outcome: ForecastOutcome) -> ForecastOutcome.Shortfall {
    let last = outcome.iterations[outcome.iterations.count - 1]
    let expected = outcome.iterations.suffix(4).map { $0.expectedDowntimeSeconds }.max() ?? 0
    let page = Double(PageGeometry.pageByteCount)
    let share = 1 - last.throttlePercent / 100
    let throttle = throttleNeeded()
    let downtime = downtimeNeeded(expected)
    return ForecastOutcome.Shortfall(
      expectedDowntimeSeconds: expected,
      dirtiedBytesPerSecond: input.curve.initialRate * share * page,
      carriedBytesPerSecond: page / input.hotSeconds, throttlePercentNeeded: throttle,
      linkFactorNeeded: linkFactorNeeded(), downtimeSecondsNeeded: downtime,
      remedies: remedies(throttle: throttle, downtime: downtime))
  }

  /// Each of the engine's means that ends it, and what it costs.
  private func remedies(throttle: Double?, downtime: Double) -> [ForecastOutcome.Remedy] {
    var found: [ForecastOutcome.Remedy] = []
    func attempt(_ change: (inout ForecastInput) -> Void) {
      var changed = input
      changed.steering.deadlineSeconds = nil
      changed.steering.throttlePercent = nil
      change(&changed)
      let outcome = simulate(changed)
      guard let downtime = outcome.downtime else { return }
      found.append(
        ForecastOutcome.Remedy(
          steering: changed.steering, downtimeLimitSeconds: changed.downtimeLimitSeconds,
          totalSeconds: outcome.totalSeconds, downtimeSeconds: downtime.seconds,
          meanThrottlePercent: outcome.meanThrottlePercent))
    }
    for policy in [ConvergencePolicy.dirtyLimit, .autoConverge] {
      attempt { changed in
        changed.steering.policy.subtract([.dirtyLimit, .autoConverge])
        changed.steering.policy.insert(policy)
      }
    }
    found.sort { $0.totalSeconds < $1.totalSeconds }
    if let throttle { attempt { $0.steering.throttlePercent = Int(throttle) } }
    attempt { changed in
      changed.steering.throttlePercent = input.steering.throttlePercent
      changed.downtimeLimitSeconds = (downtime * 1000).rounded(.up) / 1000
    }
    // Some iterations, which is when they bring nothing any more, and a moment.
    let early = simulate { $0.iterationMax = min($0.iterationMax, 4) }.totalSeconds
    if early < 1e6 {
      attempt { changed in
        changed.steering.throttlePercent = input.steering.throttlePercent
        changed.steering.deadlineSeconds = input.steering.deadlineSeconds ?? early.rounded(.up)
      }
    }
    return found
  }

  /// Whole percents, by halving: more throttling never hurts.
  private func throttleNeeded() -> Double? {
    func suffices(_ percent: Int) -> Bool { converges { $0.steering.throttlePercent = percent } }
    guard suffices(99) else { return nil }
    var (low, high) = (0, 99)
    while high - low > 1 {
      let middle = (low + high) / 2
      if suffices(middle) { high = middle } else { low = middle }
    }
    return Double(high)
  }

  private func linkFactorNeeded() -> Double? {
    func suffices(_ factor: Double) -> Bool { converges { $0.linkBytesPerSecond *= factor } }
    var (low, high) = (1.0, 2.0)
    while !suffices(high) {
      (low, high) = (high, high * 2)
      if high > 2048 { return nil }
    }
    for _ in 0..<5 {
      let middle = (low + high) / 2
      if suffices(middle) { high = middle } else { low = middle }
    }
    return high
  }

  /// Expected downtimes vary from one iteration to the next while spans are held back: the least that works.
  private func downtimeNeeded(_ expected: Double) -> Double {
    for factor in [1.0, 1.02, 1.05, 1.1, 1.2, 1.5]
    where converges({ $0.downtimeLimitSeconds = expected * factor }) { return expected * factor }
    return expected * 2
  }
}
