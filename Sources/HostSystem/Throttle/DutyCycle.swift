// SPDX-License-Identifier: Apache-2.0

/// How long a process is to be stopped, and how long to run, in turns. Arithmetic only: times go in, times come out.
///
/// A period is 20 ms: what a guest's timers miss then is less than its watchdogs, TCP's shortest retransmission time
/// (200 ms) and most heartbeats notice, and a stop and a start cost some tens of microseconds of it. Above 95 % it becomes
/// longer, up to 100 ms, because a guest that runs for less than 1 ms spends that on faulting in what it was at.
struct DutyCycle: Sendable {
  static let period: Int64 = 20_000_000
  static let runMin: Int64 = 1_000_000

  /// Of the time to be stopped, 1 to 99.
  var percent: Int {
    didSet { owed = stopTime }
  }
  /// Nanoseconds of stopping that are due.
  private var owed: Int64

  init(percent: Int) {
    self.percent = percent
    owed = 0
    owed = stopTime
  }

  /// Nanoseconds to run in each period.
  var runTime: Int64 { max(Self.runMin, Self.period * Int64(100 - percent) / 100) }

  /// Nanoseconds to be stopped in each period.
  private var stopTime: Int64 { runTime * Int64(percent) / Int64(100 - percent) }

  /// Nanoseconds to be stopped now.
  ///
  /// It follows from how long the process did run: whoever wakes late on a busy host lets it run too long, and makes that
  /// good in the next turns.
  var nextStop: Int64 { max(0, owed) }

  /// Tells how long it was stopped, and how long it ran after that.
  mutating func account(stopped: Int64, ran: Int64) {
    owed += ran * Int64(percent) / Int64(100 - percent) - stopped
    // What cannot be made good soon is forgotten: no stop is longer than two.
    owed = min(max(owed, -2 * stopTime), 2 * stopTime)
  }
}
