// SPDX-License-Identifier: Apache-2.0

/// Where a migration stands; the same words on both sides, in the output and in the documents.
public enum Phase: String, Sendable, CaseIterable, Codable {
  /// Hello, checks, data channels.
  case setup
  /// The destination reserves memory.
  case reservation
  /// Iterations: pages flow.
  case active
  /// The guest is paused (a still image always is); the last pages, its state and the digests are handed over.
  case switchover
  /// The source has let go; the destination makes the guest its own.
  case commit
  case completed
  case cancelled
  case failed

  /// Whether nothing can follow.
  public var isFinal: Bool { self == .completed || self == .cancelled || self == .failed }
}

/// What moves a migration from one phase to the next.
public enum PhaseEvent: String, Sendable, CaseIterable {
  /// Both sides agree on the session.
  case accepted
  /// The destination's memory is there and every channel is attached.
  case reserved
  /// What is left to send fits into the downtime.
  case converged
  /// The destination holds everything, and digests agree.
  case ready
  /// The destination has the guest.
  case resumed
  /// An operator, on either side, wants to stop.
  case cancel
  /// Something broke.
  case fail
}

extension Phase {
  /// The phase after `event`, or nil if the event is not allowed here.
  ///
  /// The whole life of a migration is this table. After `commit` there is no way back: a cancel is refused, and a
  /// failure leaves the outcome to be asked of the destination.
  public func next(after event: PhaseEvent) -> Phase? {
    switch (self, event) {
    case (.setup, .accepted): .reservation
    case (.reservation, .reserved): .active
    case (.active, .converged): .switchover
    case (.switchover, .ready): .commit
    case (.commit, .resumed): .completed
    case (.setup, .cancel), (.reservation, .cancel), (.active, .cancel), (.switchover, .cancel): .cancelled
    case (.setup, .fail), (.reservation, .fail), (.active, .fail), (.switchover, .fail), (.commit, .fail): .failed
    default: nil
    }
  }
}
