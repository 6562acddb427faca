// SPDX-License-Identifier: Apache-2.0
import Glibc
import GuestMemory
import Testing

@testable import Workload

@Suite("What embedded guests write")
struct PatternTests {
  @Test("A guest writes its working set and nothing else", arguments: writingPatterns, [1, 3])
  func onlyTheWorkingSet(pattern: WorkloadPattern, threads: Int) throws {
    let memory = try TestMemory()
    let guest = try WorkloadGuest(.small(pattern, threads: threads, seed: 11), memory: memory.memory)
    guest.fill()
    let before = memory.bytes
    guest.start()
    while guest.statistics.writes < 1500 { usleep(500) }
    guest.stop()
    let written = memory.pagesThatDiffer(from: before)
    #expect(!written.isEmpty)
    #expect(written.allSatisfy { (100..<500).contains($0) }, "\(written.filter { !(100..<500).contains($0) })")
    let result = try guest.verify(everything: true)
    #expect(result.isSound, "\(result)")
    #expect(result.pagesChecked == memory.pageCount)
    #expect(result.writesAccounted == guest.statistics.writes)
    #expect(try guest.verify(everything: false).pagesChecked == 400)
  }

  @Test("Sparse writes change at most 24 bytes of a page", arguments: [WorkloadPattern.sparse, .hot])
  func sparse(pattern: WorkloadPattern) throws {
    let memory = try TestMemory()
    let guest = try WorkloadGuest(.small(pattern, seed: 12), memory: memory.memory)
    guest.fill()
    let before = memory.bytes
    guest.start()
    while guest.statistics.writes < 2000 { usleep(500) }
    guest.stop()
    let after = memory.bytes
    for page in memory.pagesThatDiffer(from: before).prefix(60) {
      let range = page * pageByteCount..<(page + 1) * pageByteCount
      let changed = zip(before[range], after[range]).filter { $0 != $1 }.count
      #expect(changed <= 24, "page \(page)")
    }
  }

  @Test("An idle guest writes nothing, and can be moved")
  func idle() throws {
    let memory = try TestMemory()
    let guest = try WorkloadGuest(.small(.idle, seed: 13), memory: memory.memory)
    guest.fill()
    let before = memory.bytes
    guest.start()
    usleep(5000)
    try guest.pause()
    #expect(memory.bytes == before)
    #expect(try guest.verify(everything: true).isSound)
    let copy = try TestMemory()
    copy.bytes = memory.bytes
    let arrival = WorkloadArrival(copy.memory)
    try arrival.loadState(guest.saveState())
    try arrival.resume()
    try arrival.guest?.pause()
    #expect(try arrival.verify(everything: true).isSound)
  }

  private static func pages(_ pattern: WorkloadPattern, count: Int, change: (inout WriterRecord) -> Void = { _ in })
    -> [Int]
  {
    let plan = WorkloadPlan(pattern: pattern, workingSetByteCount: 1000 * 4096, threadCount: 2)
    let order = PageOrder(plan, guestByteCount: 1 << 30, thread: 1)
    var record = WriterRecord(seed: 5, thread: 1)
    change(&record)
    return (0..<count).map { _ in order.next(&record) }
  }

  @Test("Sequential writes go through a thread's pages in order, and begin again")
  func sequential() {
    #expect(Self.pages(.sequential, count: 1000) == (0..<1000).map { $0 % 500 * 2 + 1 })
  }

  @Test("Random order reaches every page of a thread, about equally often")
  func uniform() {
    let counts = Dictionary(grouping: Self.pages(.sparse, count: 100_000)) { $0 }.mapValues { $0.count }
    #expect(counts.count == 500)
    #expect(counts.values.allSatisfy { (100...300).contains($0) })
  }

  @Test("Hot pages are written as often as Zipf's law has it, and are not neighbours")
  func zipf() {
    let counts = Dictionary(grouping: Self.pages(.hot, count: 200_000)) { $0 }.mapValues { $0.count }
    let ranked = counts.sorted { $0.value > $1.value }
    #expect(counts.count == 500)
    // The first of n ranks has ln 2 / ln(n+1) of all writes, the r-th about 1/r of that.
    #expect((20_000...24_500).contains(ranked[0].value), "\(ranked[0].value)")
    let tenth = Double(ranked[0].value) / Double(ranked[9].value)
    #expect((6.0...8.5).contains(tenth), "the first has \(tenth) times as many as the tenth")
    #expect(abs(ranked[0].key - ranked[1].key) > 100)
  }

  @Test("A growing working set has a share of its pages in use that grows with time")
  func growing() {
    let pattern = WorkloadPattern.growing(seconds: 10)
    for (second, share) in [(0, 1), (5, 251), (10, 500), (1000, 500)] {
      let pages = Set(
        Self.pages(pattern, count: 20_000) { $0.runNanoseconds = UInt64(second) * 1_000_000_000 })
      #expect(pages == Set((0..<share).map { $0 * 2 + 1 }), "after \(second) s")
    }
  }

  @Test("Threads share the working set out completely", arguments: [(1000, 1), (1001, 3), (64, 64), (65, 64)])
  func shares(pageCount: Int, threads: Int) {
    let own = (0..<threads).map { PageOrder.ownPageCount(pageCount, thread: $0, threadCount: threads) }
    #expect(own.reduce(0, +) == pageCount)
    #expect(own.allSatisfy { $0 > 0 })
  }
}
