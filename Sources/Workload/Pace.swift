// SPDX-License-Identifier: Apache-2.0

/// Keeps one thread at its rate: pages fall due as its time goes by.
struct Pace {
  /// How long a thread sleeps when no page is due: short enough that a rate is even, long enough to cost little.
  private static let slice = 1e6
  /// What falls due while a thread does not get to run is made up for this much, in nanoseconds; the rest is lost.
  private static let arrears = 1e7

  /// Nanoseconds for each page; 0 for as many as possible.
  private let interval: Double
  /// Nanoseconds that are not used up by pages yet.
  private var credit = 0.0
  private var last: UInt64

  init(_ plan: WorkloadPlan, now: UInt64) {
    let pagesPerSecond = plan.megabytesPerSecond * 1e6 / 4096 / Double(max(1, plan.writerCount))
    interval = pagesPerSecond > 0 ? 1e9 / pagesPerSecond : 0
    last = now
  }

  /// Begins anew after time that does not count: a pause.
  mutating func skip(to now: UInt64) { last = now }

  /// Takes note of the time.
  /// - Returns: nanoseconds since the last time.
  mutating func advance(to now: UInt64) -> UInt64 {
    let elapsed = now > last ? now - last : 0
    last = now
    credit = min(credit + Double(elapsed), max(Self.arrears, interval))
    return elapsed
  }

  /// Pages that may be written now, at most `limit`.
  func due(limit: Int) -> Int { interval == 0 ? limit : min(limit, Int(min(credit / interval, 1e6))) }

  mutating func use(pages: Int) { credit -= Double(pages) * interval }

  /// Nanoseconds to sleep when nothing is due.
  var rest: UInt64 { UInt64(max(Self.slice, min(interval - credit, 1e9))) }
}

/// Slows a thread down: of every 10 ms it may run for a share only.
struct DutyCycle {
  private static let period: UInt64 = 10_000_000

  private var begin: UInt64

  init(now: UInt64) { begin = now }

  /// Begins a period. After a sleep the period begins when the thread is awake, not when it should have been: or a
  /// thread that may run for 0.1 ms and wakes that late would never run.
  mutating func restart(now: UInt64) { begin = now }

  /// Nanoseconds to sleep now; 0 to run on.
  /// - Parameter percent: of its time that the thread may not run, 0 to 99.
  mutating func rest(percent: Int, now: UInt64) -> UInt64 {
    guard percent > 0 else {
      begin = now
      return 0
    }
    let rest = Self.period * UInt64(percent) / 100
    return now &- begin >= Self.period - rest ? rest : 0
  }
}
