// SPDX-License-Identifier: Apache-2.0

/// The guest's own time in a ``Forecast``: it passes more slowly while the guest is throttled, by policies that look
/// several times a second as in the engine, and not at all after a deadline.
struct GuestClock {
  /// Time in which nothing changes.
  struct Stretch {
    var seconds: Double
    /// Guest seconds in a second.
    var pace: Double
  }

  /// What policies go by, of the guest at full speed and of the way; they look again and again at the same.
  struct Load {
    var curve: DirtyCurve
    /// Bytes of guest memory per second.
    var transferRate: Double
  }

  /// A change of the throttle that is none.
  private static let negligible = 1e-4

  private let steering: ForecastSteering
  private var autoConverge = AutoConverge()
  private let dirtyLimit = DirtyLimit()
  /// Share of its time that the guest may not run.
  private(set) var throttle: Double
  /// Seconds since the migration's start, and since pages flow.
  private(set) var now: Double
  private let flowsSince: Double
  /// Time until the guest was paused, and how much of it the guest was not let run.
  private var ran = 0.0
  private var rested = 0.0

  init(_ steering: ForecastSteering, setup: Double) {
    self.steering = steering
    throttle = Double(min(99, max(0, steering.throttlePercent ?? 0))) / 100
    now = setup
    flowsSince = setup
  }

  var pace: Double { isPastDeadline ? 0 : 1 - throttle }

  var isPastDeadline: Bool { steering.deadlineSeconds.map { now >= $0 } ?? false }

  /// Whether the throttle has come to its end, as long as the guest and the way stay as they are.
  var isFinal: Bool {
    guard steering.throttlingPolicy == .autoConverge else { return true }
    return throttle * 100 >= Double(steering.autoConverge.limit) - 0.5
  }

  /// Percent of its time that the guest did not run, on average until it was paused.
  var meanThrottlePercent: Double { ran > 0 ? rested / ran * 100 : 0 }

  /// Lets time pass.
  /// - Parameter load: nil while policies do not look yet: in the bulk stage.
  /// - Returns: what it consists of.
  mutating func pass(_ seconds: Double, _ load: Load?) -> Walk {
    let end = now + max(0, seconds)
    var walk = Walk()
    var isSettled = load == nil || steering.throttlingPolicy == nil
    while now < end {
      var next = end
      if let deadline = steering.deadlineSeconds, deadline > now { next = min(next, deadline) }
      let period = steering.throttlingPolicy == .autoConverge ? AutoConverge.period : DirtyLimit.period
      let due = flowsSince + (((now - flowsSince) / period + 1e-9).rounded(.down) + 1) * period
      let looks = !isSettled && !isPastDeadline && due <= next && due > now
      if looks { next = due }
      note(next - now, in: &walk)
      now = next
      if looks, let load { isSettled = look(load) }
    }
    return walk
  }

  private mutating func note(_ seconds: Double, in walk: inout Walk) {
    walk.append(Stretch(seconds: seconds, pace: pace))
    guard !isPastDeadline else { return }
    ran += seconds
    rested += seconds * throttle
  }

  /// - Returns: whether further looks at the same would change nothing.
  private mutating func look(_ load: Load) -> Bool {
    let before = (throttle, autoConverge)
    let page = 4096.0
    if steering.throttlingPolicy == .autoConverge {
      let unthrottled = load.curve.writeRate(seenIn: DirtyLimit.period * pace) * page
      let next = autoConverge.look(
        dirtied: unthrottled * pace * AutoConverge.period, sent: load.transferRate * AutoConverge.period,
        throttle: Int((throttle * 100).rounded()), steering.autoConverge)
      throttle = Double(next) / 100
      return isFinal || (throttle == before.0 && autoConverge == before.1)
    }
    let unthrottled = load.curve.writeRate(seenIn: DirtyLimit.period * pace) * page
    let reading = ConvergenceReading(
      dirtyRate: unthrottled * pace, transferRate: load.transferRate, throttle: throttle)
    throttle = dirtyLimit.look(reading, steering.dirtyLimit) ?? throttle
    return abs(throttle - before.0) < Self.negligible
  }
}

/// A time that passes, in stretches of even pace: what a walk over memory takes.
struct Walk {
  /// Stretches that differ by less than this are one.
  private static let even = 0.02

  private(set) var stretches: [GuestClock.Stretch] = []
  private(set) var seconds = 0.0

  /// A moment.
  init() {}

  mutating func append(_ stretch: GuestClock.Stretch) {
    guard stretch.seconds > 0 else { return }
    seconds += stretch.seconds
    guard let last = stretches.last, abs(last.pace - stretch.pace) < Self.even else {
      stretches.append(stretch)
      return
    }
    let both = last.seconds + stretch.seconds
    stretches[stretches.count - 1] = GuestClock.Stretch(
      seconds: both, pace: (last.pace * last.seconds + stretch.pace * stretch.seconds) / both)
  }

  /// Guest seconds that have passed when a share of the time has.
  func guestSeconds(at share: Double = 1) -> Double {
    var left = seconds * share
    var sum = 0.0
    for stretch in stretches {
      let part = min(left, stretch.seconds)
      sum += part * stretch.pace
      left -= part
    }
    return sum
  }
}
