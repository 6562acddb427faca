// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import HostSystem
import PageModel
import Synchronization
import SystemPackage
import TestSupport
import Testing

/// A dirty log as KVM keeps it: a bitmap per block, got and cleared under a lock. A clear write-protects: a page whose
/// bit is set is not protected.
private final class SimulatedLog: Sendable {
  let blocks: BlockTable
  private let dirty: Mutex<[[UInt64]]>
  let clears = Mutex<[String]>([])
  let calls = Mutex<[String]>([])

  init(_ blocks: BlockTable, allDirty: Bool = false) {
    self.blocks = blocks
    // KVM sets bits past the slot's end as well, where it sets all.
    dirty = Mutex(blocks.blocks.map { [UInt64](repeating: allDirty ? .max : 0, count: $0.spanCount) })
  }

  func write(block: Int, page: Int) { dirty.withLock { $0[block][page / 64] |= 1 << UInt64(page % 64) } }

  var pages: [Set<Int>] {
    dirty.withLock { words in
      words.enumerated().map { block, words in
        Set((0..<blocks.pageCount(block: block)).filter { words[$0 / 64] >> UInt64($0 % 64) & 1 == 1 })
      }
    }
  }

  func log(manual: Bool, failing: Errno? = nil) -> BitmapDirtyLog {
    let fetch: BitmapDirtyLog.Fetch = { [self] block, words, count in
      if let failing { return -failing.rawValue }
      dirty.withLock { dirty in
        precondition(count == dirty[block].count)
        for index in 0..<count { unsafe words[index] = dirty[block][index] }
        if !manual { dirty[block] = [UInt64](repeating: 0, count: count) }
      }
      return 0
    }
    let clear: BitmapDirtyLog.Clear = { [self] block, first, count, words in
      // What KVM_CLEAR_DIRTY_LOG demands.
      let end = blocks.pageCount(block: block)
      guard first % 64 == 0, count % 64 == 0 || first + count == end, first + count <= end else {
        return -Errno.invalidArgument.rawValue
      }
      dirty.withLock { dirty in
        for index in 0..<(count + 63) / 64 { dirty[block][first / 64 + index] &= unsafe ~words[index] }
      }
      clears.withLock { $0.append("\(block):\(first)+\(count)") }
      return 0
    }
    let begin: @Sendable () -> CInt = { [self] in
      calls.withLock { $0.append("begin") }
      return 0
    }
    let end: @Sendable () -> Void = { [self] in calls.withLock { $0.append("end") } }
    return unsafe BitmapDirtyLog(
      blocks: blocks, begin: begin, end: end, fetch: fetch, clear: manual ? clear : nil)
  }
}

@Suite("Dirty logs that come as bitmaps")
struct BitmapDirtyLogTests {
  private static let pageCounts = [700, 5]

  private static func table() throws -> BlockTable {
    try BlockTable(
      pageCounts.enumerated().map { index, count in
        RAMBlock(
          name: "ram\(index)", guestPhysicalBase: UInt64(index) << 40, byteCount: UInt64(count * pageByteCount))
      })
  }

  private static func synced(_ log: BitmapDirtyLog, _ blocks: BlockTable) throws -> [Set<Int>] {
    let maps = blocks.blocks.map { SpanMap(block: $0) }
    try log.sync(into: maps)
    return maps.map { pages(of: $0) }
  }

  private static func rearmed(_ log: BitmapDirtyLog, block: Int, _ spans: Range<Int>) throws -> Set<Int> {
    let masks = try log.rearm(block: block, spans: spans)
    return Set(spans.enumerated().flatMap { index, span in pageNumbers(masks[index]).map { span * 64 + $0 } })
  }

  @Test("Fetch and clear: a sync takes everything, a rearm nothing")
  func fetchAndClear() throws {
    let simulated = SimulatedLog(try Self.table())
    let log = simulated.log(manual: false)
    try log.start()
    simulated.write(block: 0, page: 699)
    simulated.write(block: 1, page: 4)
    log.markDirty(block: 0, pages: 10..<12)
    #expect(try Self.rearmed(log, block: 0, 8..<11).isEmpty)
    #expect(try Self.synced(log, simulated.blocks) == [[10, 11, 699], [4]])
    #expect(try Self.synced(log, simulated.blocks) == [[], []])
    #expect(simulated.pages == [[], []])
    log.stop()
    #expect(simulated.calls.withLock { $0 } == ["begin", "end"])
  }

  @Test("Clear by hand: a rearm clears what was fetched for its stripe, and no more")
  func manual() throws {
    let simulated = SimulatedLog(try Self.table())
    let log = simulated.log(manual: true)
    try log.start()
    for page in [3, 500, 511, 512, 699] { simulated.write(block: 0, page: page) }
    #expect(try Self.synced(log, simulated.blocks) == [[3, 500, 511, 512, 699], []])
    // Written after the fetch: page 3 again, which the clear covers, as it comes before the read; and page 4.
    simulated.write(block: 0, page: 3)
    simulated.write(block: 0, page: 4)
    log.markDirty(block: 0, pages: 7..<8)
    #expect(try Self.rearmed(log, block: 0, 0..<8) == [3, 7, 500, 511])
    #expect(simulated.pages == [[4, 512, 699], []])
    #expect(try Self.rearmed(log, block: 0, 0..<8).isEmpty)
    #expect(try Self.rearmed(log, block: 0, 10..<11) == [699])
    #expect(simulated.clears.withLock { $0 } == ["0:0+512", "0:640+60"])
    // Between clear and read: reported again.
    simulated.write(block: 0, page: 500)
    log.markDirty(block: 1, pages: 2..<3)
    #expect(try Self.synced(log, simulated.blocks) == [[4, 500, 512], [2]])
    #expect(try Self.synced(log, simulated.blocks) == [[4, 500, 512], [2]])
    #expect(try Self.rearmed(log, block: 1, 0..<1) == [2])
    #expect(try Self.synced(log, simulated.blocks) == [[4, 500, 512], []])
  }

  @Test("A peek fetches anew once in 10 ms and clears nothing; a log that clears as it fetches has none")
  func peek() throws {
    let simulated = SimulatedLog(try Self.table())
    let plain = simulated.log(manual: false)
    try plain.start()
    let none = try plain.peek(block: 0, spans: 0..<8)
    if none != nil { Issue.record("a look would have cleared the log") }
    let log = simulated.log(manual: true)
    func peeked(_ block: Int, _ spans: Range<Int>) throws -> Set<Int> {
      HostClock.sleep(nanoseconds: 11_000_000)
      let masks = try log.peek(block: block, spans: spans) ?? StripeMasks(repeating: 0)
      return Set(spans.enumerated().flatMap { index, span in pageNumbers(masks[index]).map { span * 64 + $0 } })
    }
    try log.start()
    for page in [3, 511, 699] { simulated.write(block: 0, page: page) }
    log.markDirty(block: 1, pages: 1..<3)
    #expect(try peeked(0, 0..<8) == [3, 511])
    #expect(try peeked(0, 8..<11) == [699])
    #expect(try peeked(1, 0..<1) == [1, 2])
    #expect(simulated.pages == [[3, 511, 699], []])
    simulated.write(block: 0, page: 5)
    #expect(try peeked(0, 0..<8) == [3, 5, 511])
    // What a peek has fetched is cleared by the rearm that reports it, and not before.
    #expect(try Self.rearmed(log, block: 0, 0..<8) == [3, 5, 511])
    #expect(simulated.pages == [[699], []])
    #expect(try peeked(0, 0..<8) == [])
    #expect(try Self.synced(log, simulated.blocks) == [[699], [1, 2]])
  }

  @Test("A log that begins with all pages dirty is protected stripe by stripe, by the bulk stage's rearms")
  func initiallySet() throws {
    let simulated = SimulatedLog(try Self.table(), allDirty: true)
    let log = simulated.log(manual: true)
    try log.start()
    #expect(try Self.rearmed(log, block: 0, 0..<8) == Set(0..<512))
    #expect(try Self.rearmed(log, block: 1, 0..<1) == Set(0..<5))
    simulated.write(block: 0, page: 100)
    #expect(try Self.synced(log, simulated.blocks) == [Set(512..<700).union([100]), []])
  }

  @Test("Any writes, syncs and rearms, against sets of page numbers", arguments: [621, 622, 623] as [UInt64])
  func asSet(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let simulated = SimulatedLog(try Self.table())
    let log = simulated.log(manual: true)
    try log.start()
    var (dirty, fetched): (Set<Int>, Set<Int>) = ([], [])
    for step in 0..<400 {
      let place: Comment = "step \(step), seed \(seed)"
      switch Int.random(in: 0..<4, using: &generator) {
      case 0, 1:
        let page = Int.random(in: 0..<700, using: &generator)
        simulated.write(block: 0, page: page)
        dirty.insert(page)
      case 2:
        #expect(try Self.synced(log, simulated.blocks)[0] == dirty, place)
        fetched.formUnion(dirty)
      default:
        let spans = Bool.random(using: &generator) ? 0..<8 : 8..<11
        let expected = fetched.filter { spans.contains($0 / 64) }
        #expect(try Self.rearmed(log, block: 0, spans) == expected, place)
        fetched.subtract(expected)
        dirty.subtract(expected)
      }
    }
  }

  @Test("A log that fails says at which step")
  func failing() throws {
    let simulated = SimulatedLog(try Self.table())
    let log = simulated.log(manual: false, failing: .noSuchFileOrDirectory)
    try log.start()
    #expect(throws: GuestMemoryError.trackingFailed(step: "fetching the dirty bitmap", .noSuchFileOrDirectory)) {
      try Self.synced(log, simulated.blocks)
    }
  }
}
