// SPDX-License-Identifier: Apache-2.0

/// What is done in a ``Forecast`` about a guest that writes too much: the engine's own policies, with their parameters.
public struct ForecastSteering: Sendable, Codable, Equatable {
  public var policy: ConvergencePolicy
  public var autoConverge: AutoConverge.Parameters
  public var dirtyLimit: DirtyLimit.Parameters
  /// Percent of its time that the guest may not run, from the start; policies do not throttle then. Nil: theirs.
  public var throttlePercent: Int?
  /// Seconds after the start at which the guest is paused, however much is left, or the migration is cancelled; nil: never.
  public var deadlineSeconds: Double?
  public var cancelsAtDeadline: Bool

  public init(
    policy: ConvergencePolicy = [], autoConverge: AutoConverge.Parameters = .init(),
    dirtyLimit: DirtyLimit.Parameters = .init(), throttlePercent: Int? = nil, deadlineSeconds: Double? = nil,
    cancelsAtDeadline: Bool = false
  ) {
    self.policy = policy
    self.autoConverge = autoConverge
    self.dirtyLimit = dirtyLimit
    self.throttlePercent = throttlePercent
    self.deadlineSeconds = deadlineSeconds
    self.cancelsAtDeadline = cancelsAtDeadline
  }

  /// The policy that throttles, as the engine chooses if there are two; nil: none does.
  var throttlingPolicy: ConvergencePolicy? {
    guard throttlePercent == nil else { return nil }
    return [.dirtyLimit, .autoConverge].first { policy.contains($0) }
  }
}
