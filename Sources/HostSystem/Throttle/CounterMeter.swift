// SPDX-License-Identifier: Apache-2.0

/// How fast a count of nanoseconds grows: CPU time, or time spent stopped, per time. No clock of its own.
struct CounterMeter: Sendable {
  /// Nanoseconds between two marks, at least.
  static let interval: UInt64 = 200_000_000
  /// As many as a second and a half has.
  private static let markCountMax = 8

  private var marks: [(time: UInt64, count: UInt64)] = []

  /// Notes the count at a time, if the last note is an ``interval`` ago.
  mutating func note(_ count: UInt64, at time: UInt64) {
    if let last = marks.last, time < last.time + Self.interval { return }
    if marks.count == Self.markCountMax { marks.removeFirst() }
    marks.append((time, count))
  }

  /// Forgets what was, because something has changed; the next note is the first.
  mutating func restart() { marks.removeAll() }

  /// Count per time since a second ago (or since the restart); nil before there are two marks.
  var recent: Double? {
    guard let last = marks.last else { return nil }
    let first = marks.first { $0.time + 1_100_000_000 >= last.time }
    guard let first, first.time < last.time else { return nil }
    return Self.rate(first, last)
  }

  /// The largest between two neighbours: what the process uses if it gets the CPUs, where others compete for them.
  var highest: Double? { zip(marks, marks.dropFirst()).map { Self.rate($0, $1) }.max() }

  private static func rate(_ first: (time: UInt64, count: UInt64), _ last: (time: UInt64, count: UInt64)) -> Double {
    Double(last.count &- first.count) / Double(last.time - first.time)
  }
}
