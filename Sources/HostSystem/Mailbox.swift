// SPDX-License-Identifier: Apache-2.0
import Synchronization

/// A queue from many threads to one, for events of the control plane (never per page or per frame).
public final class Mailbox<Event: Sendable>: Sendable {
  private struct Queue {
    var events: [Event?] = []
    var first = 0
    var isClosed = false

    var count: Int { events.count - first }

    mutating func take() -> Event? {
      guard first < events.count else { return nil }
      defer {
        events[first] = nil
        first += 1
        // In one go, now and then: removing the first would move all others each time.
        if first == events.count || first >= 512 {
          events.removeFirst(first)
          first = 0
        }
      }
      return events[first]
    }
  }

  private let queue = Mutex(Queue())
  private let arrival = ParkingSpot()
  private let room = ParkingSpot()

  /// An empty mailbox.
  public init() {}

  /// Adds an event; any thread.
  public func post(_ event: Event) {
    queue.withLock { $0.events.append(event) }
    arrival.wake()
  }

  /// Adds an event, once fewer than `count` wait; not on the thread that takes them.
  public func post(_ event: Event, roomFor count: Int) {
    _ = room.wait { self.queue.withLock { $0.count < count || $0.isClosed } }
    post(event)
  }

  /// Nobody takes events any more: nobody waits for room.
  public func close() {
    queue.withLock { $0.isClosed = true }
    room.wake()
  }

  /// The oldest event, or nil if none came within `nanoseconds` (negative: no limit). One thread only.
  public func next(nanoseconds: Int64 = -1) -> Event? {
    guard arrival.wait(nanoseconds: nanoseconds, until: { self.queue.withLock { $0.count > 0 } }) else { return nil }
    defer { room.wake() }
    return queue.withLock { $0.take() }
  }
}
