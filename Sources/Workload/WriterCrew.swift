// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Synchronization

/// The writer threads of a guest, and how they are told to run, park and stop.
///
/// An order is a number that is never given twice. A thread looks at it before every page; told to park, it leaves
/// its record, acknowledges that very order, and sleeps until there is another. So an order to park that comes while
/// threads still wake up from the one before cannot take the old acknowledgement for a new one.
final class WriterCrew: Sendable {
  /// What the threads are to do.
  struct Order: Equatable {
    enum Kind: UInt64 { case run, park, stop }
    fileprivate let number: UInt64
    var kind: Kind { Kind(rawValue: number & 3) ?? .stop }
  }

  let image: GuestImage
  let berths: [WriterBerth]
  /// Percentage of the time that threads may not run.
  let throttle = Atomic<Int>(0)
  private let order: Atomic<UInt64>
  /// Where threads sleep: for their rate, for the throttle, or parked.
  private let orders = ParkingSpot()
  /// Where who gave an order waits for acknowledgements.
  private let acknowledgements = ParkingSpot()
  private let threads = Mutex<[HostThread]>([])

  /// Starts the threads, parked. Returns when all of them are.
  /// - Parameter records: one for each thread.
  init(_ image: GuestImage, records: [WriterRecord]) {
    self.image = image
    berths = records.map { WriterBerth($0) }
    order = Atomic(4 | Order.Kind.park.rawValue)
    let started = records.indices.map { index in
      HostThread(name: "guest-\(index)") { [self] in WriterLoop.run(self, thread: index) }
    }
    threads.withLock { $0 = started }
    awaitAcknowledgements()
  }

  /// Threads begin to write.
  func run() { give(.run) }

  /// Returns when no thread writes any more.
  func park() {
    give(.park)
    awaitAcknowledgements()
  }

  /// Ends the threads and waits for them, parked or not.
  func stop() {
    give(.stop)
    let ending = threads.withLock { threads in
      defer { threads = [] }
      return threads
    }
    for thread in ending { thread.join() }
  }

  private func give(_ kind: Order.Kind) {
    let sequence = order.load(ordering: .relaxed) >> 2
    order.store((sequence + 1) << 2 | kind.rawValue, ordering: .releasing)
    orders.wake()
  }

  private func awaitAcknowledgements() {
    let number = order.load(ordering: .relaxed)
    // Pairs with the release in acknowledge(): what the threads have written is visible after it.
    _ = acknowledgements.wait { berths.allSatisfy { $0.acknowledged.load(ordering: .acquiring) == number } }
  }

  // For the threads ---------------------------------------------------------------------------------------

  /// The order of the moment. Pairs with the release in give(): a thread that runs on sees what was done meanwhile.
  func currentOrder() -> Order { Order(number: order.load(ordering: .acquiring)) }

  /// Whether nothing else was ordered since.
  @inline(__always) func stands(_ given: Order) -> Bool { order.load(ordering: .relaxed) == given.number }

  /// Sleeps until something else is ordered, or the time has passed (negative: no limit).
  func sleep(_ given: Order, nanoseconds: Int64) {
    _ = orders.wait(nanoseconds: nanoseconds) { !stands(given) }
  }

  func acknowledge(_ given: Order, _ berth: WriterBerth) {
    berth.acknowledged.store(given.number, ordering: .releasing)
    acknowledgements.wake()
  }
}

/// Where a thread leaves what it knows.
final class WriterBerth: @unchecked Sendable {
  /// The last order that the thread has carried out by parking.
  let acknowledged = Atomic<UInt64>(0)
  /// Of the moment, for statistics: written by the thread only.
  let writes: Atomic<UInt64>
  let longestGap = Atomic<UInt64>(0)
  /// The thread's while it runs; while it is parked or has ended, of who gave the order.
  var record: WriterRecord

  init(_ record: WriterRecord) {
    self.record = record
    writes = Atomic(record.writes)
  }
}
