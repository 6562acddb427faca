// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import HostSystem
import Lanes
import PageCodecs
import PageModel
import Synchronization
import TestSupport
import Testing
import Transport
import Wire

/// A guest that writes only when it is told to, with a log that notes it: every iteration is known in advance.
@safe final class ScriptedGuest: DirtyLog, @unchecked Sendable {
  let memory: AnonymousMemory
  let source: ProcessMemorySource
  private let dirty: [SpanMap]
  /// Writes that happen when a stripe is re-armed, before it is read: what a guest does that does not wait for us.
  private let onRearm = Mutex<[@Sendable () -> Void]>([])
  var method: String { "scripted" }

  init(_ pageCounts: [Int]) throws {
    var base: UInt64 = 0
    let table = try BlockTable(
      pageCounts.enumerated().map { index, count in
        defer { base += UInt64(count + 1) * 4096 }
        return RAMBlock(name: "block\(index)", guestPhysicalBase: base, byteCount: UInt64(count) * 4096)
      })
    let made = try AnonymousMemory(blocks: table, populateAhead: false)
    memory = made
    source = unsafe ProcessMemorySource(
      blocks: table, bases: table.blocks.indices.map { unsafe UnsafeRawPointer(made.base(block: $0)) })
    dirty = table.blocks.map { SpanMap(block: $0) }
  }

  /// Writes bytes of a page.
  func write(_ bytes: [UInt8], block: Int, page: Int, offset: Int = 0) {
    precondition(offset + bytes.count <= 4096 && page < memory.blocks.blocks[block].pageCount, "inside the page")
    unsafe bytes.withUnsafeBytes { from in
      guard let base = from.baseAddress else { return }
      unsafe (memory.base(block: block) + page * 4096 + offset).copyMemory(from: base, byteCount: bytes.count)
    }
    dirty[block].insert(pages: page..<page + 1)
  }

  func page(block: Int, page: Int) -> [UInt8] {
    unsafe Array(UnsafeRawBufferPointer(start: memory.base(block: block) + page * 4096, count: 4096))
  }

  /// Does something when the next stripe is re-armed.
  func whenRearmed(_ body: @escaping @Sendable () -> Void) { onRearm.withLock { $0.append(body) } }

  func start() throws(GuestMemoryError) {}
  func stop() {}

  func sync(into pending: [SpanMap]) throws(GuestMemoryError) {
    for block in pending.indices {
      for span in 0..<pending[block].spanCount { pending[block].insert(dirty[block].pages(span: span), span: span) }
    }
  }

  func rearm(block: Int, spans: Range<Int>) throws(GuestMemoryError) -> StripeMasks {
    var masks = StripeMasks(repeating: 0)
    for span in spans { masks[span - spans.lowerBound] = dirty[block].take(span: span) }
    for body in onRearm.withLock({ waiting in
      defer { waiting = [] }
      return waiting
    }) { body() }
    return masks
  }
}

/// A pair of pipelines that moves a scripted guest.
final class LiveLanes {
  let guest: ScriptedGuest
  let copy: AnonymousMemory
  let pending: [SpanMap]
  let heat: SpanHeat
  let budget: CacheBudget
  let sender: SendingPipeline
  let receiver: ReceivingPipeline
  let harness: PipelineHarness
  private let laneCount: Int
  private var number: UInt32 = 0

  init(
    _ guest: ScriptedGuest, codec: String = "none", lanes: Int = 2, channels: Int = 2,
    cache: CacheBudget.Size = .automatic, decoders: Int = 0, cpus: Int = HostThread.allowedCPUs().count,
    bandwidth: UInt64 = 0, moves: Bool = false
  ) throws {
    self.guest = guest
    laneCount = lanes
    let table = guest.memory.blocks
    copy = try AnonymousMemory(blocks: table, populateAhead: false)
    pending = try table.blocks.indices.map { try guest.source.presentPages(block: $0) }
    heat = SpanHeat(table)
    budget = CacheBudget(cache, guestByteCount: table.byteCount, laneCount: lanes)
    harness = try PipelineHarness(channelCount: channels)
    let policy = try CodecPolicy(parsing: codec)
    sender = try SendingPipeline(
      memory: guest.source, pending: pending, connections: harness.near,
      configuration: .init(
        laneCount: lanes, codec: policy, historyByteCount: 1 << 20, wantsDigests: false,
        live: .init(memory: .mapped(guest.source), log: guest, heat: heat, cacheBudget: budget, seed: 42),
        pacer: Pacer(bytesPerSecond: bandwidth), cpuCount: cpus),
      onEvent: { [events = harness.events] in events.post(.sending($0)) })
    receiver = ReceivingPipeline(
      memory: copy, connections: harness.far,
      session: .init(
        codecs: policy.tags, laneCount: lanes, channelCount: channels, historyByteCount: 1 << 20,
        features: moves ? [.deltas, .lanesMove] : .deltas),
      decoderCount: decoders,
      onEvent: { [events = harness.events] in events.post(.receiving($0)) })
    sender.start()
    receiver.start()
  }

  /// What one iteration sent.
  @discardableResult
  func iterate(_ kind: Iteration.Kind) throws -> SendingStatistics {
    let before = sender.statistics
    if kind != .bulk {
      try guest.sync(into: pending)
      _ = heat.update(from: pending)
    }
    number += 1
    sender.begin(Iteration(number: number, kind: kind))
    try harness.awaitMarks(laneCount)
    var sent = sender.statistics
    let received = receiver.statistics
    #expect(sent.zeroPages == received.zeroPages && sent.dataPages == received.dataPages)
    #expect(sent.deltaPages == received.deltaPages)
    sent.zeroPages -= before.zeroPages
    sent.dataPages -= before.dataPages
    sent.deltaPages -= before.deltaPages
    sent.unchangedPages -= before.unchangedPages
    sent.deferredPages -= before.deferredPages
    return sent
  }

  /// Pages of the copy that are not what the guest has.
  func differences() -> Int {
    guest.memory.blocks.blocks.indices.reduce(0) { sum, block in
      let count = guest.memory.blocks.blocks[block].pageCount
      return sum
        + (0..<count).count { page in
          let there = unsafe Array(UnsafeRawBufferPointer(start: copy.base(block: block) + page * 4096, count: 4096))
          return !there[...].isSame(as: guest.page(block: block, page: page)[...])
        }
    }
  }

  func stop() {
    sender.stop()
    receiver.stop()
  }
}

@Suite("Lanes that read a guest which runs")
struct LiveLanesTests {
  /// A guest with mixed content.
  static func guest(seed: UInt64, _ pageCounts: [Int] = [1, 700, 1400]) throws -> ScriptedGuest {
    let guest = try ScriptedGuest(pageCounts)
    for (block, count) in pageCounts.enumerated() {
      let image = SamplePages.mixedImage(pageCount: count, seed: seed + UInt64(block))
      for page in 0..<count where image[page * 4096..<(page + 1) * 4096].contains(where: { $0 != 0 }) {
        guest.write(Array(image[page * 4096..<(page + 1) * 4096]), block: block, page: page)
      }
    }
    return guest
  }

  /// Writes in all the ways that a page can change, `count` times.
  static func disturb(_ guest: ScriptedGuest, _ random: inout SeededGenerator, count: Int) {
    for _ in 0..<count {
      let block = Int.random(in: 0..<guest.memory.blocks.blocks.count, using: &random)
      let page = Int.random(in: 0..<guest.memory.blocks.blocks[block].pageCount, using: &random)
      switch Int.random(in: 0..<6, using: &random) {
      case 0: guest.write([UInt8](repeating: 0, count: 4096), block: block, page: page)
      case 1: guest.write(SamplePages.page(.random, using: &random), block: block, page: page)
      case 2: guest.write(SamplePages.page(.text, using: &random), block: block, page: page)
      case 3: guest.write(guest.page(block: block, page: page), block: block, page: page)
      default:
        let offset = Int.random(in: 0..<4090, using: &random)
        guest.write(
          [UInt8.random(in: 0...255, using: &random), 1, 2], block: block, page: page, offset: offset)
      }
    }
  }

  @Test(
    "After every iteration the copy is the guest's memory, for every codec, cache and shape",
    arguments: [
      ("none", 1, 1), ("none", 4, 2), ("lz4", 2, 2), ("zstd:1", 3, 1), ("zstd-long:1", 2, 2), ("auto", 2, 1),
    ], [CacheBudget.Size.off, .automatic, .bytes(400 << 10), .percent(100)])
  func converges(_ shape: (codec: String, lanes: Int, channels: Int), cache: CacheBudget.Size) throws {
    var random = SeededGenerator(seed: 7)
    let guest = try Self.guest(seed: 70)
    let lanes = try LiveLanes(
      guest, codec: shape.codec, lanes: shape.lanes, channels: shape.channels, cache: cache,
      decoders: shape.lanes - 1)
    defer { lanes.stop() }
    try lanes.iterate(.bulk)
    #expect(lanes.differences() == 0)
    for round in 0..<6 {
      Self.disturb(guest, &random, count: 300)
      try lanes.iterate(round == 5 ? .last : .again(holdBack: false))
      #expect(lanes.differences() == 0, "round \(round)")
    }
    let sent = lanes.sender.statistics
    #expect((sent.deltaPages > 0) == (cache != .off))
    #expect(sent.cacheHits + sent.cacheMisses > 0 && sent.unchangedPages > 0)
    #expect(sent.cacheByteCount <= Int(guest.memory.blocks.byteCount))
  }

  @Test(
    "A page that was written and did not change does not travel, whether it is cached or not",
    arguments: [CacheBudget.Size.off, .percent(100)])
  func unchanged(cache: CacheBudget.Size) throws {
    let guest = try Self.guest(seed: 5, [512])
    let lanes = try LiveLanes(guest, cache: cache)
    defer { lanes.stop() }
    try lanes.iterate(.bulk)
    for page in 0..<512 { guest.write(guest.page(block: 0, page: page), block: 0, page: page) }
    let sent = try lanes.iterate(.again(holdBack: false))
    #expect(sent.unchangedPages == 512 && sent.dataPages + sent.zeroPages + sent.deltaPages == 0)
    #expect(lanes.differences() == 0)
  }

  @Test("A page that leaves the cache is known by its hash afterwards")
  func evicted() throws {
    let guest = try Self.guest(seed: 6, [2048])
    // One lane, one set of the cache in use at a time: almost everything is evicted.
    let lanes = try LiveLanes(guest, lanes: 1, channels: 1, cache: .bytes(UInt64(16 * 4104)))
    defer { lanes.stop() }
    try lanes.iterate(.bulk)
    for round in 0..<8 {
      for page in stride(from: round * 100, to: round * 100 + 100, by: 1) {
        guest.write([UInt8(round), 7], block: 0, page: page, offset: 100)
      }
      try lanes.iterate(.again(holdBack: false))
    }
    for page in 0..<800 { guest.write(guest.page(block: 0, page: page), block: 0, page: page) }
    let sent = try lanes.iterate(.again(holdBack: false))
    #expect(sent.unchangedPages == 800, "\(sent)")
    #expect(lanes.differences() == 0)
  }

  @Test("What is written between sync and read is read at once, and is not dirty afterwards")
  func lateClear() throws {
    let guest = try Self.guest(seed: 8, [512])
    let lanes = try LiveLanes(guest, lanes: 1, channels: 1)
    defer { lanes.stop() }
    try lanes.iterate(.bulk)
    guest.write([1], block: 0, page: 3)
    try guest.sync(into: lanes.pending)
    // After the sync, before the lanes look: one more page of the same stripe.
    guest.write([2], block: 0, page: 9)
    let sent = try lanes.iterate(.again(holdBack: false))
    #expect(sent.dataPages + sent.deltaPages == 2)
    let again = try lanes.iterate(.last)
    #expect(again.donePages == 0)
    #expect(lanes.differences() == 0)
  }

  @Test("What is written between clearing the log and reading is sent twice at most, never not at all")
  func writtenWhileRead() throws {
    let guest = try Self.guest(seed: 9, [512])
    let lanes = try LiveLanes(guest, lanes: 1, channels: 1)
    defer { lanes.stop() }
    try lanes.iterate(.bulk)
    guest.write([1], block: 0, page: 3)
    guest.whenRearmed { guest.write([99, 98], block: 0, page: 3, offset: 10) }
    try lanes.iterate(.again(holdBack: false))
    let again = try lanes.iterate(.last)
    #expect(again.donePages == 1)
    #expect(lanes.differences() == 0)
  }

  @Test("Hot spans are held back when they are to be, stay pending, and go in the last iteration")
  func holdsBack() throws {
    let guest = try Self.guest(seed: 10, [2048])
    let lanes = try LiveLanes(guest)
    defer { lanes.stop() }
    try lanes.iterate(.bulk)
    for round in 0..<3 {
      for page in 0..<64 { guest.write([UInt8(round + 1)], block: 0, page: page) }
      if round == 2 { for page in 1000..<1010 { guest.write([5], block: 0, page: page) } }
      let sent = try lanes.iterate(.again(holdBack: round == 2))
      #expect(sent.donePages == (round == 2 ? 10 : 64), "round \(round)")
      #expect((sent.deferredPages > 0) == (round > 0), "round \(round)")
    }
    #expect(lanes.pending[0].count() == 64)
    let last = try lanes.iterate(.last)
    #expect(last.donePages == 64)
    #expect(lanes.differences() == 0)
  }

  @Test("The cache can be made larger, smaller and nothing while lanes work")
  func resizes() throws {
    var random = SeededGenerator(seed: 11)
    let guest = try Self.guest(seed: 12, [1500])
    let lanes = try LiveLanes(guest, cache: .off)
    defer { lanes.stop() }
    try lanes.iterate(.bulk)
    for size in [CacheBudget.Size.percent(50), .bytes(100 << 10), .percent(100), .off, .automatic] {
      lanes.budget.set(size)
      for _ in 0..<2 {
        Self.disturb(guest, &random, count: 400)
        try lanes.iterate(.again(holdBack: false))
        #expect(lanes.differences() == 0, "\(size)")
      }
      #expect((lanes.sender.statistics.cacheByteCount == 0) == (size == .off), "\(size)")
    }
  }
}
