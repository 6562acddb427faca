// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Synchronization

/// Does something again and again on a thread of its own, until it is stopped: what a display needs.
final class Ticker: Sendable {
  private let nanoseconds: Int64
  private let body: @Sendable () -> Void
  private let stopped = Atomic<Bool>(false)
  private let stopSpot = ParkingSpot()
  private let thread = Mutex<HostThread?>(nil)

  init(every nanoseconds: Int64, _ body: @escaping @Sendable () -> Void) {
    self.nanoseconds = nanoseconds
    self.body = body
  }

  func start() {
    thread.withLock {
      $0 = HostThread(name: "pf-display") { [self] in
        while !stopSpot.wait(nanoseconds: nanoseconds, until: { stopped.load(ordering: .relaxed) }) { body() }
      }
    }
  }

  /// Waits for the thread. May be called when it was never started.
  func stop() {
    stopped.store(true, ordering: .relaxed)
    stopSpot.wake()
    let running = thread.withLock { thread -> HostThread? in
      defer { thread = nil }
      return thread
    }
    running?.join()
  }
}
