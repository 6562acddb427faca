// SPDX-License-Identifier: Apache-2.0

/// What a ``Forecast`` says.
public struct ForecastOutcome: Sendable, Codable, Equatable {
  /// Whether the guest is handed over within the limits, and pre-copy ends by itself.
  public var converges: Bool
  public var iterations: [Iteration]
  /// From the begin until the guest runs at the destination; of a migration that does not converge, until the forecast
  /// gave up.
  public var totalSeconds: Double
  /// Nil if the guest is never handed over. At a deadline it is, however long that takes.
  public var downtime: Downtime?
  public var wireBytes: Double
  /// Percent of its time that the guest does not run, on average until it is paused.
  public var meanThrottlePercent: Double
  /// Of a migration that would converge, but not before its deadline: the time that it takes without one.
  public var secondsNeeded: Double?
  /// Why it does not end, and what would end it.
  public var shortfall: Shortfall?

  /// One pass over what is pending.
  public struct Iteration: Sendable, Codable, Equatable {
    /// From 1, the bulk stage.
    public var number: Int
    /// Pages pending when it begins, and pages sent: what was dirtied before its turn came goes along.
    public var pendingPages: Double
    public var sentPages: Double
    public var seconds: Double
    public var wireBytes: Double
    /// Pages dirty when it ends.
    public var dirtiedPages: Double
    /// What the downtime would be if the guest were paused then.
    public var expectedDowntimeSeconds: Double
    /// Percent of its time that the guest does not run during it.
    public var throttlePercent: Double
    /// Whether hot spans wait.
    public var holdsBack: Bool
  }

  /// Where the downtime goes, in seconds.
  public struct Downtime: Sendable, Codable, Equatable {
    public var seconds: Double
    public var sync: Double
    public var transfer: Double
    /// Pausing, state, commit, resuming.
    public var handOver: Double
    public var pages: Double
  }

  /// A migration that goes on for ever, and what each single change would have to be.
  public struct Shortfall: Sendable, Codable, Equatable {
    /// What the downtime would be, iteration after iteration.
    public var expectedDowntimeSeconds: Double
    /// What the guest writes to in a second, as throttled as it is at the end, and what can be sent of that; in bytes of
    /// guest memory.
    public var dirtiedBytesPerSecond: Double
    public var carriedBytesPerSecond: Double
    /// The least throttling that ends it, in percent; nil if none does.
    public var throttlePercentNeeded: Double?
    /// How many times as fast the link must be; nil if no link helps: then the CPUs are the limit.
    public var linkFactorNeeded: Double?
    /// The downtime limit that ends it.
    public var downtimeSecondsNeeded: Double
    /// What the engine can do about it: policies first, the quicker one before the other.
    public var remedies: [Remedy]
  }

  /// One way to end it, and what comes of it.
  public struct Remedy: Sendable, Codable, Equatable {
    public var steering: ForecastSteering
    public var downtimeLimitSeconds: Double
    public var totalSeconds: Double
    public var downtimeSeconds: Double
    public var meanThrottlePercent: Double
  }
}
