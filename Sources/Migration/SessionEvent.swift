// SPDX-License-Identifier: Apache-2.0
package import HostSystem
package import Lanes
import Transport
package import Wire

/// What a session's thread waits for: everything that happens arrives in one mailbox.
package enum SessionEvent: Sendable {
  case message(ControlMessage)
  /// The control channel has ended; nothing comes from it any more.
  case controlEnded(MigrationFailure)
  /// Another of the session's threads cannot go on.
  case failed(MigrationFailure)
  case sending(SendingPipeline.Event)
  case receiving(ReceivingPipeline.Event)
  case digested(DigestCheck.Outcome)
  case visitor(Visitor)
  case cancel(reason: String)
  /// Settings were changed, or an order was given.
  case steer
}

/// How long sessions wait for what.
package enum SessionPatience {
  /// How often the destination says how far it has come, and the source that it is alive.
  package static let ackInterval = Duration.milliseconds(100)
  package static let heartbeatInterval = Duration.seconds(1)
  /// A destination that has said that it is ready bears this many times the usual silence.
  package static let silenceFactorAfterReady = 4
  /// How long to wait for the peer's own reason after a data channel broke: a peer that fails closes everything,
  /// and its last words may come after the first broken pipe.
  package static let lastWords = Duration.seconds(1)
}

extension Mailbox<SessionEvent> {
  /// Why this side was told to end, if it was: for a thread that could not hear it. What else waits here is dropped.
  package func takeCancel() -> String? {
    while let event = next(nanoseconds: 0) {
      if case .cancel(let reason) = event { return reason }
    }
    return nil
  }

  /// The peer's own reason for what `failure` shows, if it gives one in time.
  package func lastWords(explaining failure: MigrationFailure, peer: String) -> MigrationFailure {
    guard failure.code == .peerLost, !failure.isFromPeer else { return failure }
    let deadline = HostClock.now() + SessionPatience.lastWords.nanoseconds
    while HostClock.now() < deadline {
      switch next(nanoseconds: Int64(deadline - min(deadline, HostClock.now()))) {
      case .message(.error(let refusal)), .message(.reject(let refusal)): return MigrationFailure(refusal, peer: peer)
      case .message(.cancel(let reason)): return .cancelled(byPeer: peer, reason: reason)
      case .cancel(let reason): return MigrationFailure(.cancelled, reason)
      case .controlEnded: return failure
      case nil, .message, .failed, .sending, .receiving, .digested, .visitor, .steer: continue
      }
    }
    return failure
  }
}

extension MigrationFailure {
  package static func cancelled(byPeer peer: String, reason: String) -> MigrationFailure {
    MigrationFailure(.cancelledByPeer, "\(peer) cancelled: \(printable(reason))", isFromPeer: true)
  }

  /// What to tell the peer about a failure on this side, or nil if the peer knows.
  package var farewell: ControlMessage? {
    if isFromPeer { return nil }
    if code == .cancelled { return .cancel(reason: reason) }
    return .error(.init(code: code.rawValue, reason: reason))
  }
}
