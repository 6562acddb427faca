// SPDX-License-Identifier: Apache-2.0

/// Throttles in steps while the guest writes too much, as QEMU's `auto-converge` does (migration/ram.c,
/// `migration_trigger_throttle`, 10.0), with its parameters and defaults.
///
/// Looked at once per period: more written than ``Parameters/trigger`` of what was sent counts as a hit, and every second
/// hit throttles: ``Parameters/initial`` first, then ``Parameters/increment`` more. It never gives back.
public struct AutoConverge: Sendable, Equatable {
  public struct Parameters: Sendable, Codable, Equatable {
    /// Percent of what was sent that may be written.
    public var trigger = 50
    /// Percent of throttle: the first step, each further one, and the most.
    public var initial = 20
    public var increment = 10
    public var limit = 99
    /// Near the aim, smaller steps: not beyond what would halve the distance.
    public var tailslow = false

    public init() {}
  }

  /// Seconds between two looks.
  public static let period = 1.0

  private var hits = 0

  public init() {}

  /// Looks at one period.
  /// - Parameters:
  ///   - dirtied, sent: bytes of guest memory that were written, and sent, in it.
  ///   - throttle: what holds now, in percent.
  /// - Returns: the throttle from now on, in percent.
  public mutating func look(dirtied: Double, sent: Double, throttle: Int, _ parameters: Parameters) -> Int {
    let allowed = sent * Double(parameters.trigger) / 100
    guard dirtied > allowed else { return throttle }
    hits += 1
    guard hits >= 2 else { return throttle }
    hits = 0
    guard throttle > 0 else { return min(parameters.initial, parameters.limit) }
    var step = parameters.increment
    if parameters.tailslow {
      // What the guest gets now, and what it would get if it wrote what is allowed.
      let now = Double(100 - throttle)
      let ideal = now * allowed / max(1, dirtied)
      step = min(step, max(1, Int(now - ideal)))
    }
    return min(parameters.limit, throttle + step)
  }
}
