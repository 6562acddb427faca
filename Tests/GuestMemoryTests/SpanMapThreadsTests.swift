// SPDX-License-Identifier: Apache-2.0
import Glibc
import GuestMemory
import PageModel
import Synchronization
import TestSupport
import Testing

@Suite("Span maps that threads share")
struct SpanMapThreadsTests {
  private static let spanCount = 1000
  private static let block = RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: UInt64(spanCount * spanByteCount))

  /// Lets two threads go on together, each time that both have arrived.
  private final class Lockstep: Sendable {
    private let arrivals = Atomic<Int>(0)

    func arrive(step: Int) {
      arrivals.add(1, ordering: .relaxed)
      var spins = 0
      while arrivals.load(ordering: .relaxed) < 2 * (step + 1) {
        spins += 1
        if spins.isMultiple(of: 1000) { _ = sched_yield() }
      }
    }
  }

  @Test("Threads that take at the same time claim each page once", arguments: 1...4)
  func claimedOnce(round: Int) {
    let map = SpanMap(block: Self.block)
    map.insert(pages: 0..<Self.block.pageCount)
    let lockstep = Lockstep()
    let claims = Mutex<[[PageMask]]>([])
    Threads.run(2) { _ in
      let mine = (0..<map.spanCount).map { span in
        lockstep.arrive(step: span)
        return map.take(span: span)
      }
      claims.withLock { $0.append(mine) }
    }
    let taken = claims.withLock { $0 }
    let twice = (0..<map.spanCount).filter { taken[0][$0] & taken[1][$0] != 0 }
    let lost = (0..<map.spanCount).filter { taken[0][$0] | taken[1][$0] != .max }
    #expect(twice.isEmpty, "\(twice.count) spans have pages that were claimed twice, first \(twice.first ?? -1)")
    #expect(lost.isEmpty, "\(lost.count) spans have pages that nobody claimed, first \(lost.first ?? -1)")
    #expect(map.count() == 0)
  }

  @Test("A page inserted while another thread takes is claimed once or still there", arguments: 1...4)
  func insertedMeanwhile(round: Int) {
    let map = SpanMap(block: Self.block)
    let lockstep = Lockstep()
    let claims = Mutex([PageMask](repeating: 0, count: Self.spanCount))
    let twice = Mutex<[Int]>([])
    // One thread inserts pages one by one, span after span; the other takes what it finds, again and again.
    Threads.run(2) { thread in
      for span in 0..<map.spanCount {
        lockstep.arrive(step: span)
        if thread == 0 {
          for page in 0..<8 { map.insert(1 << PageMask(page * 8), span: span) }
        } else {
          for _ in 0..<8 {
            let taken = map.take(span: span)
            if claims.withLock({ $0[span] & taken != 0 }) { twice.withLock { $0.append(span) } }
            claims.withLock { $0[span] |= taken }
          }
        }
      }
    }
    let inserted: PageMask = 0x0101_0101_0101_0101
    let all = claims.withLock { $0 }
    let lost = (0..<map.spanCount).filter { all[$0] | map.pages(span: $0) != inserted }
    let again = twice.withLock { $0 } + (0..<map.spanCount).filter { all[$0] & map.pages(span: $0) != 0 }
    #expect(lost.isEmpty, "\(lost.count) spans lost pages, first \(lost.first ?? -1)")
    #expect(again.isEmpty, "\(again.count) spans have pages that were claimed twice, first \(again.first ?? -1)")
  }
}
