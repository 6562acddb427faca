// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Synchronization

/// What connections of one source hypervisor know of each other.
///
/// With multifd it makes several: one for the stream, others for pages. Which is which only their first bytes say, and
/// those of the stream come when all of them are there. With others the stream cannot be taken apart by itself; and
/// destinations before QEMU 8.0 take the first connection for the stream's, so that it goes first.
final class Siblings: Sendable {
  private struct State {
    var count = 0
    /// The stream's connection is through to the destination's hypervisor; or it never will be.
    var mainIsOpen = false
    var isOver = false
  }

  private let state = Mutex(State())
  private let change = ParkingSpot()
  /// How long others have to come after the stream's first bytes, in nanoseconds: they were connected before.
  private static let grace: Int64 = 50_000_000

  /// Another connection was made.
  func join() {
    state.withLock { $0.count += 1 }
    change.wake()
  }

  /// For the connection with the stream: whether there are others.
  func hasOthers() -> Bool { change.wait(nanoseconds: Self.grace) { self.state.withLock { $0.count > 1 } } }

  /// The stream's connection is through.
  func noteMainIsOpen() {
    state.withLock { $0.mainIsOpen = true }
    change.wake()
  }

  /// The stream's connection has ended: nobody waits for it.
  func noteOver() {
    state.withLock { $0.isOver = true }
    change.wake()
  }

  var mainIsOpen: Bool { state.withLock { $0.mainIsOpen } }
  var isOver: Bool { state.withLock { $0.isOver } }

  /// For the others: waits until the stream's connection is through.
  /// - Returns: false if that does not come.
  func awaitMain() -> Bool {
    _ = change.wait(nanoseconds: 30_000_000_000) { self.state.withLock { $0.mainIsOpen || $0.isOver } }
    return mainIsOpen
  }
}
