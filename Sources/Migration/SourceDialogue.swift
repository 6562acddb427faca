// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Lanes
import Wire

/// The source's half of the conversation once both sides have agreed: sends, waits, and lets the destination hear from
/// it every second meanwhile. Belongs to the session's thread.
struct SourceDialogue {
  /// How long the destination may take to reserve the guest's memory without a word.
  private static let reservationLimit = Duration.seconds(120)

  let control: ControlChannel
  let vigil: Vigil
  let events: Mailbox<SessionEvent>
  let clock: PhaseClock
  /// What has to be looked at while this waits.
  let steering: Steering
  /// What a pipeline's error means here.
  let explain: @Sendable (LaneError) -> MigrationFailure
  /// Lets a paused guest run on, as soon as it is certain that it is not handed over.
  let letRun: @Sendable () -> Void

  var peer: String { control.peer }

  /// - Parameter deadline: on the monotonic clock: a peer that does not read is waited for no longer.
  func send(_ message: ControlMessage, until deadline: UInt64? = nil) throws(MigrationFailure) {
    let left = deadline.map { Duration.nanoseconds(Int64(clamping: $0 - min($0, HostClock.now()))) }
    try control.send(message, within: left)
  }

  /// Waits for a message that says nothing more than that it came.
  func wait(for expected: ControlMessage) throws(MigrationFailure) {
    try wait { event in
      if case .message(expected) = event { true } else { false }
    }
  }

  /// Waits for a message from which `pick` takes something.
  func wait<Value>(picking pick: (ControlMessage) -> Value?, until deadline: UInt64? = nil) throws(MigrationFailure)
    -> Value
  {
    var found: Value?
    try wait(until: deadline) { event in
      if case .message(let message) = event { found = pick(message) }
      return found != nil
    }
    guard let found else { throw MigrationFailure(.internal, "waited for nothing") }
    return found
  }

  /// Handles events until `isExpected` says yes to one.
  /// - Parameter deadline: on the monotonic clock; when it passes, the guest has been paused for too long.
  func wait(until deadline: UInt64? = nil, _ isExpected: (SessionEvent) -> Bool) throws(MigrationFailure) {
    var nextHeartbeat = HostClock.now() + Self.heartbeat
    while true {
      if let deadline, HostClock.now() >= deadline {
        throw MigrationFailure(
          .peerLost, "\(peer) did not take over in time, and the guest was paused (--switchover-limit)")
      }
      if try turn(until: deadline ?? .max, nextHeartbeat: &nextHeartbeat, isExpected) { return }
    }
  }

  /// Handles events for a while.
  func idle(nanoseconds: UInt64) throws(MigrationFailure) {
    let end = HostClock.now() + nanoseconds
    var nextHeartbeat = HostClock.now() + Self.heartbeat
    while HostClock.now() < end { _ = try turn(until: end, nextHeartbeat: &nextHeartbeat) { _ in false } }
  }

  private static let heartbeat = SessionPatience.heartbeatInterval.nanoseconds

  /// Does what is due, and waits for one event, until `end` at the latest.
  /// - Returns: whether it was expected.
  private func turn(
    until end: UInt64, nextHeartbeat: inout UInt64, _ isExpected: (SessionEvent) -> Bool
  ) throws(MigrationFailure) -> Bool {
    let now = HostClock.now()
    if now >= nextHeartbeat {
      // A destination that reserves memory has no time to talk: it is given longer.
      let limit = clock.phase == .reservation ? Self.reservationLimit : nil
      try vigil.check(peer: peer, atLeast: limit)
      try send(.heartbeat)
      nextHeartbeat = now + Self.heartbeat
    }
    let wake = try min(nextHeartbeat, end, steering.tick(now))
    guard let event = events.next(nanoseconds: Int64(clamping: wake - min(now, wake))) else { return false }
    if case .message(.ack(let ack)) = event { steering.note(ack) }
    if isExpected(event) { return true }
    try handle(event)
    return false
  }

  /// Events that nobody waits for.
  private func handle(_ event: SessionEvent) throws(MigrationFailure) {
    switch event {
    case .message(.ack), .sending(.iterationProduced): break
    case .message(.error(let refusal)), .message(.reject(let refusal)):
      throw MigrationFailure(refusal, peer: peer)
    case .message(.cancel(let reason)):
      // A cancel that crossed our commit: the destination will go on when the commit arrives.
      if clock.phase != .commit { throw .cancelled(byPeer: peer, reason: reason) }
    case .message:
      throw MigrationFailure(.protocolViolation, "\(peer) sent a control message out of turn")
    case .controlEnded(let failure), .failed(let failure): throw failure
    case .sending(.failed) where clock.phase == .commit: break  // Everything was acknowledged before.
    case .sending(.failed(let error)):
      // The reason may take the peer a second; the guest need not wait for it.
      letRun()
      throw events.lastWords(explaining: explain(error), peer: peer)
    case .cancel(let reason):
      // Too late once the commit is out: the destination has the guest.
      if clock.phase != .commit { throw MigrationFailure(.cancelled, reason) }
    case .receiving, .digested, .visitor, .steer: break
    }
  }
}
