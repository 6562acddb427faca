// SPDX-License-Identifier: Apache-2.0

/// Which downtime is allowed now: the limit, or less of it as long as iterations still bring something, or more at a
/// moment that will not come better.
public struct DowntimeRamp: Sendable, Equatable {
  /// The first step of the ramp, and each further one, as shares of the limit.
  private static let step = 0.1
  /// An iteration that leaves more than this share of the best downtime before it has brought nothing.
  private static let worthwhile = 0.9
  /// Iterations in a row without gain after which they are at their end.
  public static let stallCount = 3
  /// What a local minimum may take, in limits.
  private static let ceiling = 3.0

  private var steps = 1
  private var best = Double.infinity
  /// Iterations in a row that brought nothing.
  public private(set) var stalled = 0
  /// Expected downtimes of the latest syncs, the newest last.
  private var recent: [Double] = []

  public init() {}

  /// Notes the expected downtime at a sync, in seconds.
  public mutating func note(expected: Double) {
    if expected < best * Self.worthwhile {
      best = expected
      stalled = 0
    } else {
      stalled += 1
      steps += 1
    }
    recent.append(expected)
    if recent.count > 8 { recent.removeFirst() }
  }

  /// Something was changed that iterations may follow: what they brought before says nothing.
  public mutating func restart() {
    best = .infinity
    stalled = 0
    recent = []
  }

  /// The downtime that is allowed at this moment, in seconds.
  public func allowed(limit: Double, policy: ConvergencePolicy) -> Double {
    var allowed = limit
    if policy.contains(.downtimeRamp) { allowed = limit * min(1, Double(steps) * Self.step) }
    if policy.contains(.localMinimum), stalled >= Self.stallCount, let now = recent.last,
      now <= recent.dropLast().min() ?? now
    {
      allowed = max(allowed, min(now, limit * Self.ceiling))
    }
    return allowed
  }
}
