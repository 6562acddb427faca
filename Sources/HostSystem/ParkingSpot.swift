// SPDX-License-Identifier: Apache-2.0
import CHostSystem
import Synchronization

/// Where one or more threads sleep until another says that something changed: an event count over a futex.
///
/// The sleeper takes a ticket, looks once more for work, and parks with that ticket; a wake in between makes the
/// park return at once, so no wake is lost. Waking costs one atomic addition and one load when nobody sleeps.
@safe public final class ParkingSpot: @unchecked Sendable {
  private let epoch: UnsafeMutablePointer<Atomic<UInt32>>
  private let sleepers = Atomic<Int32>(0)

  /// A spot where nobody sleeps yet.
  public init() {
    unsafe epoch = .allocate(capacity: 1)
    unsafe epoch.initialize(to: Atomic(0))
  }

  deinit {
    unsafe epoch.deinitialize(count: 1)
    unsafe epoch.deallocate()
  }

  /// A moment in the spot's history.
  public struct Ticket: Sendable {
    fileprivate let epoch: UInt32
  }

  /// Announces that the caller may sleep. Look for work after this and before ``park(_:timeout:)``; every ticket
  /// must be given back by `park` or ``cancel(_:)``.
  public func prepare() -> Ticket {
    // Sequentially consistent, and so is the load in wake(): either the waker sees this sleeper, or the sleeper's
    // look for work, which comes after, sees what the waker had published before.
    sleepers.add(1, ordering: .sequentiallyConsistent)
    return unsafe Ticket(epoch: epoch.pointee.load(ordering: .sequentiallyConsistent))
  }

  /// Gives a ticket back without sleeping.
  public func cancel(_: Ticket) { sleepers.subtract(1, ordering: .relaxed) }

  /// Sleeps until a wake later than `ticket`, or until `nanoseconds` have passed (negative: no limit).
  public func park(_ ticket: Ticket, nanoseconds: Int64 = -1) {
    // SAFETY: an Atomic<UInt32> is a UInt32 in memory, at a fixed address for the life of self.
    _ = unsafe hs_futex_wait(UnsafeRawPointer(epoch).assumingMemoryBound(to: UInt32.self), ticket.epoch, nanoseconds)
    sleepers.subtract(1, ordering: .relaxed)
  }

  /// Wakes everyone who sleeps here, or some of them. What they are to find must be published before.
  /// - Parameter count: sleepers that are enough, if each of them would do; who is about to sleep looks again anyway.
  public func wake(atMost count: Int32 = .max) {
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    guard sleepers.load(ordering: .sequentiallyConsistent) > 0 else { return }
    unsafe epoch.pointee.add(1, ordering: .sequentiallyConsistent)
    // SAFETY: as in park().
    _ = unsafe hs_futex_wake(UnsafeRawPointer(epoch).assumingMemoryBound(to: UInt32.self), count)
  }

  /// Sleeps until `condition` holds; false if `nanoseconds` passed first (negative: no limit).
  public func wait(nanoseconds: Int64 = -1, until condition: () -> Bool) -> Bool {
    let start = HostClock.now()
    while true {
      if condition() { return true }
      let ticket = prepare()
      if condition() {
        cancel(ticket)
        return true
      }
      var left: Int64 = -1
      if nanoseconds >= 0 {
        left = nanoseconds - Int64(HostClock.now() - start)
        guard left > 0 else {
          cancel(ticket)
          return condition()
        }
      }
      park(ticket, nanoseconds: left)
    }
  }
}
