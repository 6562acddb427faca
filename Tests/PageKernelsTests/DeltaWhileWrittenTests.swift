// SPDX-License-Identifier: Apache-2.0
import PageKernels
import Synchronization
import TestSupport
import Testing

@Suite("Deltas of memory that the guest writes to")
struct DeltaWhileWrittenTests {
  /// What the guest writes at a time: a few bytes across the edge of a word, one word, and everything.
  struct Write: Sendable, CustomTestStringConvertible {
    let offset: Int
    let byteCount: Int

    var testDescription: String { "\(byteCount) bytes at \(offset)" }
  }

  /// Contents in which any two differ in about half of the bytes, so that runs begin, grow and join.
  private static func contents(_ write: Write) -> [[UInt8]] {
    var generator = SeededGenerator(seed: 391)
    return (0..<8).map { _ in (0..<write.byteCount).map { _ in UInt8(generator.next() >> 63) } }
  }

  @Test(
    "The delta leads exactly from what the cache held to what it holds now", arguments: KernelTier.available,
    [
      Write(offset: 60, byteCount: 8), Write(offset: 4032, byteCount: 64), Write(offset: 1000, byteCount: 300),
      Write(offset: 0, byteCount: 4096),
    ])
  func leadsToTheCopy(tier: KernelTier, write: Write) {
    let page = SharedPage()
    let contents = Self.contents(write)
    let stopping = Atomic<Bool>(false)
    let counts = Mutex((changed: 0, wrong: 0))
    Threads.run(2) { thread in
      if thread == 0 {
        while !stopping.load(ordering: .relaxed) {
          for content in contents { page.write(content, at: write.offset) }
        }
      } else {
        // The destination, which has only the deltas to go by.
        var target = [UInt8](repeating: 0, count: pageByteCount)
        var cached = target
        for _ in 0..<4000 {
          let encoding = page.withSpan { DeltaCall.update(&cached, from: $0, capacity: 8192, tier: tier) }
          var isRight = encoding.isInside
          switch encoding.result {
          case .delta:
            isRight = isRight && DeltaCall.apply(encoding.delta, to: &target, tier: tier) == (nil, true)
          case .overflow: isRight = false
          case .unchanged: break
          }
          isRight = isRight && isSame(target, cached)
          counts.withLock { counts in
            if !isRight { counts.wrong += 1 }
            if encoding.result != .unchanged { counts.changed += 1 }
          }
          target = cached
        }
        stopping.store(true, ordering: .relaxed)
      }
    }
    let seen = counts.withLock { $0 }
    #expect(seen.wrong == 0, "\(tier): \(seen.wrong) wrong of \(seen.changed)")
    #expect(seen.changed > 0, "\(tier): nothing was written meanwhile")
  }
}
