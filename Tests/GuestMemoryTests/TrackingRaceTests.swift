// SPDX-License-Identifier: Apache-2.0
import Glibc
import GuestMemory
import PageModel
import Synchronization
import TestSupport
import Testing

/// A destination that gets the pages that a log reports, as lanes would send them, while writers go on.
@safe private final class ShadowCopy: @unchecked Sendable {
  static let lanes = 2
  static let writers = 2

  let guest: TrackedGuest
  /// Has memory discarded meanwhile, as a balloon does.
  private let discards: Bool
  private let shadow: AnonymousMemory
  private let isWriting = Atomic<Bool>(false)
  private let failures = Mutex<[String]>([])
  let reported = Atomic<Int>(0)
  let written = Atomic<Int>(0)

  init(_ guest: TrackedGuest, discards: Bool) throws {
    self.guest = guest
    self.discards = discards
    shadow = try AnonymousMemory(blocks: guest.blocks, populateAhead: false)
  }

  var failure: String? { failures.withLock { $0.first } }

  private func fail(_ reason: String) { failures.withLock { $0.append(reason) } }

  /// One round: writers, lanes and syncs at once; then the writers pause, and everything must have arrived.
  func round(seed: UInt64, duration: Duration) {
    let end = ContinuousClock.now + duration
    isWriting.store(true, ordering: .relaxed)
    Threads.run(Self.writers + Self.lanes + 1) { [self] thread in
      var generator = SeededGenerator(seed: seed &* 31 &+ UInt64(thread))
      do {
        if thread < Self.writers {
          while isWriting.load(ordering: .relaxed) { write(thread, &generator) }
        } else if thread < Self.writers + Self.lanes {
          while isWriting.load(ordering: .relaxed) { try lane(thread - Self.writers, &generator) }
        } else {
          while ContinuousClock.now < end {
            try guest.log.sync(into: guest.emptyMaps)
            if discards { discard(&generator) }
            usleep(500)
          }
          isWriting.store(false, ordering: .relaxed)
        }
      } catch { fail("\(error)") }
      // One that fails ends the round.
      isWriting.store(false, ordering: .relaxed)
    }
    do { try finish(seed: seed) } catch { fail("\(error)") }
  }

  /// Every writer counts up words of its own, in any page; half of the writes go to a few hot pages.
  private func write(_ writer: Int, _ generator: inout SeededGenerator) {
    for _ in 0..<64 {
      let block = Int.random(in: 0..<guest.blocks.blocks.count, using: &generator)
      let count = guest.blocks.pageCount(block: block)
      let page = Int.random(in: 0..<(Bool.random(using: &generator) ? min(40, count) : count), using: &generator)
      let index = Int.random(in: 0..<128, using: &generator) * 4 + writer
      guest.write(guest.read(block: block, page: page, word: index) &+ 1, block: block, page: page, word: index)
    }
    written.add(64, ordering: .relaxed)
  }

  /// Drops some pages of the second block, up to a stripe and more, and says so.
  private func discard(_ generator: inout SeededGenerator) {
    let count = guest.blocks.pageCount(block: 1)
    let first = Int.random(in: 0..<count, using: &generator)
    let pages = first..<min(count, first + (Bool.random(using: &generator) ? 3 : 700))
    guest.discard(block: 1, pages: pages)
    guest.log.markDirty(block: 1, pages: pages)
  }

  /// Passes over the lane's stripes: rearm, then copy what was reported.
  private func lane(_ lane: Int, _ generator: inout SeededGenerator) throws {
    for block in 0..<guest.blocks.blocks.count {
      for (number, stripe) in guest.stripes(block: block).enumerated() where number % Self.lanes == lane {
        let pages = try guest.rearmed(block: block, spans: stripe)
        // A write in the worst moment: the log must report it once more.
        if let victim = pages.randomElement(using: &generator) {
          let index = 3 + 4 * Int.random(in: 0..<128, using: &generator)
          guest.write(generator.next(), block: block, page: victim, word: index)
        }
        copy(pages, block: block)
      }
    }
  }

  private func copy(_ pages: Set<Int>, block: Int) {
    for page in pages {
      // SAFETY: the page lies in its block, and both memories have the same blocks.
      unsafe (shadow.base(block: block) + page * pageByteCount).copyMemory(
        from: guest.memory.base(block: block) + page * pageByteCount, byteCount: pageByteCount)
    }
    reported.add(pages.count, ordering: .relaxed)
  }

  /// The last sync and rearm, with the writers paused: then both memories are the same.
  private func finish(seed: UInt64) throws {
    let dirty = try guest.synced()
    for block in 0..<guest.blocks.blocks.count {
      var last: Set<Int> = []
      for stripe in guest.stripes(block: block) { last.formUnion(try guest.rearmed(block: block, spans: stripe)) }
      if !last.isSuperset(of: dirty[block]) {
        fail(
          "seed \(seed): block \(block): a sync says \(dirty[block].subtracting(last).count) pages more than a rearm")
      }
      // Where memory was discarded, reading elsewhere can make a log say more: a page table comes into being.
      if !discards, !dirty[block].isSuperset(of: last) {
        fail(
          "seed \(seed): block \(block): a rearm says \(last.subtracting(dirty[block]).count) pages more than a sync")
      }
      copy(last, block: block)
      for page in 0..<guest.blocks.pageCount(block: block) {
        let difference = unsafe memcmp(
          guest.memory.base(block: block) + page * pageByteCount, shadow.base(block: block) + page * pageByteCount,
          pageByteCount)
        if difference != 0 { fail("seed \(seed): block \(block): a write to page \(page) was lost") }
      }
    }
    // What was discarded may stay dirty.
    if !discards, try guest.synced().contains(where: { !$0.isEmpty }) {
      fail("seed \(seed): pages are dirty that nobody wrote")
    }
  }
}

@Suite("Tracked memory: races", .serialized, trackingIsPossible)
struct TrackingRaceTests {
  /// Seconds for each case: `scripts/soak tracking` gives more.
  private static let seconds =
    unsafe getenv("PAGEFERRY_SOAK_SECONDS").flatMap { unsafe Double(String(cString: $0)) } ?? 0.5

  private static let kinds = LogKind.available.filter { $0 == .asynchronous || $0 == .synchronous }

  @Test("No write is lost between sync, rearm and the reading of pages", arguments: kinds, MemoryShape.allCases)
  func race(kind: LogKind, shape: MemoryShape) throws {
    try Self.run(kind, shape, discards: false, seconds: Self.seconds)
  }

  @Test("Nor if memory is discarded meanwhile", arguments: kinds, MemoryShape.allCases)
  func discards(kind: LogKind, shape: MemoryShape) throws {
    try Self.run(kind, shape, discards: true, seconds: Self.seconds / 2)
  }

  private static func run(_ kind: LogKind, _ shape: MemoryShape, discards: Bool, seconds: Double) throws {
    let guest = try TrackedGuest(shape, kind, pageCounts: [512 * 6 + 70, 1000])
    for block in 0..<2 {
      for page in 0..<500 { guest.write(block: block, page: page) }
    }
    try guest.log.start()
    let copy = try ShadowCopy(guest, discards: discards)
    // What was there before the start is for the bulk stage.
    for block in 0..<2 { guest.log.markDirty(block: block, pages: 0..<500) }
    let end = ContinuousClock.now + .seconds(seconds)
    var seed = UInt64.random(in: 0...9999)
    var rounds = 0
    while rounds == 0 || ContinuousClock.now < end, copy.failure == nil {
      copy.round(seed: seed, duration: .milliseconds(60))
      seed += 1
      rounds += 1
    }
    #expect(copy.failure == nil)
    let counts =
      "\(copy.written.load(ordering: .relaxed)) writes, \(copy.reported.load(ordering: .relaxed)) pages copied"
    print("tracking, \(kind), \(shape)\(discards ? ", discards" : ""): \(rounds) rounds, \(counts)")
  }
}
