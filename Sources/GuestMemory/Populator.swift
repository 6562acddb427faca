// SPDX-License-Identifier: Apache-2.0
import CHostSystem
import HostSystem
import Synchronization

/// Faults memory in on a thread of its own, ahead of the channels that will write it (MADV_POPULATE_WRITE, which
/// leaves content as it is: racing with a writer is harmless).
@safe final class Populator: Sendable {
  /// Small enough to stop within a few milliseconds, large enough that the system call costs nothing.
  private static let chunkByteCount = 16 << 20

  private let stopping = Atomic<Bool>(false)
  private let thread = Mutex<HostThread?>(nil)

  /// Starts populating `ranges`, in order. They must stay mapped until ``stop()`` has returned.
  init(_ ranges: [(base: UnsafeMutableRawPointer, byteCount: Int)]) {
    @safe struct Work: @unchecked Sendable {
      let ranges: [(base: UnsafeMutableRawPointer, byteCount: Int)]
    }
    let work = unsafe Work(ranges: ranges)
    let started = HostThread(name: "pf-populate") { [self] in
      for unsaferange in unsafe work.ranges {
        var done = 0
        while unsafe done < range.byteCount {
          if stopping.load(ordering: .relaxed) { return }
          let count = unsafe min(Self.chunkByteCount, range.byteCount - done)
          // SAFETY: the caller keeps the range mapped. A refusal (old kernel, no memory) is not an error here: the
          // page is then faulted in when it is written, which reports what must be reported.
          if unsafe hs_populate_write(range.base + done, count) != 0 { return }
          done += count
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
