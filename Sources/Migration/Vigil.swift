// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Synchronization

/// Watches that a peer is heard from. TCP notices a dead host or link; this notices a process that hangs.
package final class Vigil: Sendable {
  private let heardAt = Atomic<UInt64>(HostClock.now())
  private let limit: Duration

  /// - Parameter limit: the longest silence to bear.
  package init(limit: Duration) { self.limit = limit }

  /// Something came from the peer; any thread.
  package func hear() { heardAt.store(HostClock.now(), ordering: .relaxed) }

  /// Throws once the peer has been silent for too long.
  /// - Parameters:
  ///   - patience: bears at least this much silence, whatever the limit.
  ///   - factor: bears this many times the limit.
  package func check(peer: String, atLeast patience: Duration? = nil, factor: Int = 1) throws(MigrationFailure) {
    let silence = HostClock.elapsed(since: heardAt.load(ordering: .relaxed))
    guard silence > max(limit * factor, patience ?? .zero).nanoseconds else { return }
    throw MigrationFailure(.peerLost, "\(peer) has said nothing for \(silence / 1_000_000_000) s (--dead-peer)")
  }
}
