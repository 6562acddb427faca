// SPDX-License-Identifier: Apache-2.0
import Synchronization

/// A queue from many threads to one, for events of the control plane (never per page or per frame).
public final class Mailbox<Event: Sendable>: Sendable {
  private let queue = Mutex<[Event]>([])
  private let arrival = ParkingSpot()

  /// An empty mailbox.
  public init() {}

  /// Adds an event; any thread.
  public func post(_ event: Event) {
    queue.withLock { $0.append(event) }
    arrival.wake()
  }

  /// The oldest event, or nil if none came within `nanoseconds` (negative: no limit). One thread only.
  public func next(nanoseconds: Int64 = -1) -> Event? {
    let arrived = arrival.wait(nanoseconds: nanoseconds) { self.queue.withLock { !$0.isEmpty } }
    return arrived ? queue.withLock { $0.isEmpty ? nil : $0.removeFirst() } : nil
  }
}
