// SPDX-License-Identifier: Apache-2.0
package import GuestMemory
import HostSystem
package import PageKernels
import PageModel
import Synchronization

/// Computes the digest of every block of a destination, on several threads, from the memory as it will be run.
package final class DigestCheck: Sendable {
  package typealias Outcome = Result<[BlockDigest], GuestMemoryError>

  /// Spans that a thread takes at once (64 MiB).
  private static let portionSpanCount = 256

  private struct Portion {
    let block: Int
    let spans: Range<Int>
  }

  private let memory: any DestinationMemory
  private let placement: ThreadPlacement
  private let portions: [Portion]
  private let nextPortion = Atomic<Int>(0)
  private let running: Atomic<Int>
  private let result: Mutex<Outcome>
  private let threads = Mutex<[HostThread]>([])

  init(memory: any DestinationMemory, threadCount: Int, placement: ThreadPlacement) {
    self.memory = memory
    self.placement = placement
    running = Atomic(threadCount)
    portions = memory.blocks.blocks.enumerated().flatMap { index, block in
      stride(from: 0, to: block.spanCount, by: Self.portionSpanCount).map {
        Portion(block: index, spans: $0..<min($0 + Self.portionSpanCount, block.spanCount))
      }
    }
    result = Mutex(.success(Array(repeating: BlockDigest(), count: memory.blocks.blocks.count)))
  }

  /// Begins; `deliver` gets the outcome on one of the threads.
  func start(_ deliver: @escaping @Sendable (Outcome) -> Void) {
    threads.withLock { threads in
      threads = (0..<running.load(ordering: .relaxed)).map { index in
        HostThread(name: "pf-digest-\(index)", placement: placement) { [self] in
          work()
          if running.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 { deliver(result.withLock { $0 }) }
        }
      }
    }
  }

  /// Gives up what is not done yet, and waits for the threads.
  func stop() {
    nextPortion.store(portions.count, ordering: .relaxed)
    let started = threads.withLock { threads in
      defer { threads = [] }
      return threads
    }
    for thread in started { thread.join() }
  }

  private func work() {
    while true {
      let index = nextPortion.add(1, ordering: .relaxed).oldValue
      guard index < portions.count else { return }
      let portion = portions[index]
      let outcome: Result<BlockDigest, GuestMemoryError>
      do throws(GuestMemoryError) {
        outcome = .success(try memory.digest(block: portion.block, spans: portion.spans))
      } catch { outcome = .failure(error) }
      result.withLock { result in
        guard case .success(var sums) = result else { return }
        switch outcome {
        case .success(let digest):
          sums[portion.block].add(digest)
          result = .success(sums)
        case .failure(let error): result = .failure(error)
        }
      }
    }
  }
}
