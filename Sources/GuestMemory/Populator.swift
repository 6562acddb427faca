// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Synchronization

/// Faults memory in on a thread of its own, ahead of the channels that will write it (MADV_POPULATE_WRITE, which
/// leaves content as it is: racing with a writer is harmless).
final class Populator: Sendable {
  /// Small enough to stop within a few milliseconds, large enough that the system call costs nothing.
  private static let chunkByteCount = 16 << 20

  private let stopping = Atomic<Bool>(false)
  private let thread = Mutex<HostThread?>(nil)

  /// Starts populating `ranges`, in order. They must stay mapped until ``stop()`` has returned.
  /// - Parameter placement: where the thread runs, and so where memory comes from.
  init(_ ranges: [MappedRange], placement: ThreadPlacement) {
    let started = HostThread(name: "pf-populate", placement: placement) { [self] in
      for range in ranges {
        for start in stride(from: 0, to: range.byteCount, by: Self.chunkByteCount) {
          if stopping.load(ordering: .relaxed) { return }
          guard range.populate(start..<min(start + Self.chunkByteCount, range.byteCount)) else { return }
        }
      }
    }
    thread.withLock { $0 = started }
  }

  /// Stops and waits for the thread. May be called more than once.
  func stop() {
    stopping.store(true, ordering: .relaxed)
    let running = thread.withLock { thread -> HostThread? in
      defer { thread = nil }
      return thread
    }
    running?.join()
  }
}
