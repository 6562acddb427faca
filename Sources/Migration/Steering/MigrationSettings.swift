// SPDX-License-Identifier: Apache-2.0
public import Convergence
public import Lanes
public import PageCodecs

/// What an operator may change while a migration runs. All of it takes effect at once.
public struct MigrationSettings: Sendable, Equatable {
  /// Wire bytes per second over all channels; 0: no limit.
  public var bandwidthLimit: UInt64
  /// The same while the guest is paused; 0: as before it.
  public var switchoverBandwidth: UInt64
  /// Longest downtime of a guest that runs: it is paused once what is left fits.
  public var downtimeLimit: Duration
  public var codec: CodecPolicy
  /// Lanes that work at the same time, 1 to as many as there are.
  public var workers: Int
  /// Data channels that lanes feed, 1 to as many as there are lanes; of a guest that runs.
  public var channels: Int
  /// What delta caches may take, of a guest that runs.
  public var deltaCache: CacheBudget.Size
  /// What is done if the guest writes too much.
  public var policy: ConvergencePolicy
  public var autoConverge: AutoConverge.Parameters
  public var dirtyLimit: DirtyLimit.Parameters
  /// Percent of its time that the guest may not run, set by hand: policies do not throttle then. Nil: theirs.
  public var throttle: Int?
  /// Seconds after the start at which ``deadlineAction`` is taken, if the guest has not been handed over; nil: never.
  public var deadline: Double?
  public var deadlineAction: DeadlineAction
  /// Whether the guest is kept running here when it could be handed over, until this is taken back.
  public var holds: Bool

  /// What happens at the deadline.
  public enum DeadlineAction: String, Sendable, CaseIterable {
    /// The guest is paused, and what is left is sent: however long the downtime is.
    case pause
    case cancel
  }

  public init(
    bandwidthLimit: UInt64 = 0, switchoverBandwidth: UInt64 = 0, downtimeLimit: Duration = .milliseconds(300),
    codec: CodecPolicy = .none, workers: Int = 2, channels: Int = 2, deltaCache: CacheBudget.Size = .percent(1),
    policy: ConvergencePolicy = [], autoConverge: AutoConverge.Parameters = .init(),
    dirtyLimit: DirtyLimit.Parameters = .init(), throttle: Int? = nil, deadline: Double? = nil,
    deadlineAction: DeadlineAction = .pause, holds: Bool = false
  ) {
    self.bandwidthLimit = bandwidthLimit
    self.switchoverBandwidth = switchoverBandwidth
    self.downtimeLimit = downtimeLimit
    self.codec = codec
    self.workers = workers
    self.channels = channels
    self.deltaCache = deltaCache
    self.policy = policy
    self.autoConverge = autoConverge
    self.dirtyLimit = dirtyLimit
    self.throttle = throttle
    self.deadline = deadline
    self.deadlineAction = deadlineAction
    self.holds = holds
  }

  /// Wire bytes per second that are allowed now; 0: no limit.
  func bandwidthLimit(isPaused: Bool) -> UInt64 {
    isPaused && switchoverBandwidth > 0 ? switchoverBandwidth : bandwidthLimit
  }
}

/// Why a setting cannot be had, in one line.
public struct SettingError: Error, Equatable, Sendable, CustomStringConvertible {
  public let reason: String
  public init(_ reason: String) { self.reason = reason }
  public var description: String { reason }
}

/// What an operator may tell a migration to do.
public enum MigrationOrder: String, Sendable, CaseIterable {
  /// Pause the guest here and now; its memory goes on being sent, and as nothing is written any more, it will be handed
  /// over.
  case pause
  /// Let a guest run on that was paused by order.
  case resume
  /// Hand the guest over at once: it is paused, and whatever is left is sent.
  case complete
  case hold, release
}
