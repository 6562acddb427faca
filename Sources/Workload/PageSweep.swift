// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Synchronization

/// Goes through many pages once, on several threads.
enum PageSweep {
  private static let chunkPageCount = 512
  private static let threadCountMax = 16

  private final class Cursor: Sendable { let next = Atomic<Int>(0) }

  /// Threads that ``run(over:threadCount:_:)`` takes: one for each CPU that this process may use.
  static let threadCount = min(threadCountMax, max(1, HostThread.allowedCPUs().count))

  /// Calls `body` with the number of its thread and a part of `pages`, until all parts had their turn. Returns then.
  static func run(over pages: Range<Int>, _ body: @escaping @Sendable (Int, Range<Int>) -> Void) {
    let cursor = Cursor()
    let work: @Sendable (Int) -> Void = { thread in
      while true {
        let first = pages.lowerBound + cursor.next.add(chunkPageCount, ordering: .relaxed).oldValue
        guard first < pages.upperBound else { return }
        body(thread, first..<min(first + chunkPageCount, pages.upperBound))
      }
    }
    let otherCount = min(threadCount, (pages.count + chunkPageCount - 1) / chunkPageCount) - 1
    let others = (0..<max(0, otherCount)).map { index in
      HostThread(name: "guest-sweep-\(index + 1)") { work(index + 1) }
    }
    work(0)
    for other in others { other.join() }
  }
}
