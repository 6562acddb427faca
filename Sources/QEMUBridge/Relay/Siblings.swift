// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Synchronization

/// What connections of one source hypervisor know of each other.
///
/// With multifd it makes several: one for the stream, others for pages. Which is which only their first bytes say, and
/// all of them are there before the stream comes to its first page. Destinations before QEMU 8.0 take the first connection
/// for the stream's, so that it goes first.
final class Siblings: Sendable {
  private struct State {
    var count = 0
    /// How often nobody was waiting to be accepted.
    var silences = 0
    /// The stream's connection is through to the destination's hypervisor; or it never will be.
    var mainIsOpen = false
    var isOver = false
  }

  /// Where those of multifd meet.
  let gate = MultifdGate()
  private let state = Mutex(State())
  private let change = ParkingSpot()
  /// How long to wait until all that were made are accepted, in nanoseconds: a busy host's.
  private static let patience: Int64 = 20_000_000_000

  /// Another connection was made.
  func join() { state.withLock { $0.count += 1 } }

  /// Nobody is waiting to be accepted.
  func noteSilence() {
    state.withLock { $0.silences += 1 }
    change.wake()
  }

  /// For the stream's connection, which has come to its first page: how many others there are.
  func countOthers() -> Int {
    let before = state.withLock { $0.silences }
    // The first of the two may have begun before.
    _ = change.wait(nanoseconds: Self.patience) { self.state.withLock { $0.silences >= before + 2 } }
    return state.withLock { $0.count } - 1
  }

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
