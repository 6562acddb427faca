// SPDX-License-Identifier: Apache-2.0
import Glibc
import GuestMemory
import PageModel
import TestSupport
import Testing

@Suite("Tracked memory", trackingIsPossible)
struct TrackingTests {
  /// Blocks that end inside a stripe, inside a span, and after three pages.
  private static let pageCounts = [512 * 3 + 64 * 2 + 5, 3, 512, 1100]

  private static func random(_ count: Int, of pageCount: Int, _ generator: inout SeededGenerator) -> Set<Int> {
    Set((0..<count).map { _ in Int.random(in: 0..<pageCount, using: &generator) })
  }

  @Test(
    "A log says which pages were written: these, and no others", arguments: LogKind.available, MemoryShape.allCases)
  func exact(kind: LogKind, shape: MemoryShape) throws {
    let seed: UInt64 = 611
    var generator = SeededGenerator(seed: seed)
    let guest = try TrackedGuest(shape, kind, pageCounts: Self.pageCounts)
    // Some of it is populated before, the rest is not.
    for (block, count) in Self.pageCounts.enumerated() {
      for page in Self.random(count / 5, of: count, &generator) { guest.write(block: block, page: page) }
      for page in Self.random(count / 9, of: count, &generator) { _ = guest.read(block: block, page: page) }
    }
    try guest.log.start()
    var expected = [Set<Int>](repeating: [], count: Self.pageCounts.count)
    for round in 0..<8 {
      let place: Comment = "round \(round), seed \(seed)"
      #expect(try guest.synced() == expected, place)
      for (block, count) in Self.pageCounts.enumerated() {
        let written = Self.random(Int.random(in: 0...count / 3, using: &generator), of: count, &generator)
        for page in written { guest.write(UInt64(round), block: block, page: page, word: page % 512) }
        for page in Self.random(20, of: count, &generator) { _ = guest.read(block: block, page: page) }
        expected[block].formUnion(written)
      }
      #expect(try guest.synced() == expected, place)
      for (block, count) in Self.pageCounts.enumerated() {
        for stripe in guest.stripes(block: block) where Bool.random(using: &generator) {
          let first = Int.random(in: stripe, using: &generator)
          let spans = first..<Int.random(in: first + 1...stripe.upperBound, using: &generator)
          let pages = Set(spans.lowerBound * 64..<min(spans.upperBound * 64, count))
          #expect(try guest.rearmed(block: block, spans: spans) == expected[block].intersection(pages), place)
          expected[block].subtract(pages)
        }
      }
    }
    #expect(try guest.rearmed() == expected)
    #expect(try guest.synced().allSatisfy { $0.isEmpty })
    guest.log.stop()
  }

  @Test(
    "Pages that hold something are known from those never touched", arguments: LogKind.available, MemoryShape.allCases)
  func populated(kind: LogKind, shape: MemoryShape) throws {
    let guest = try TrackedGuest(shape, kind, pageCounts: [2000, 4])
    var generator = SeededGenerator(seed: 612)
    let written = Self.random(100, of: 2000, &generator)
    for page in written { guest.write(block: 0, page: page) }
    _ = guest.read(block: 1, page: 2)
    #expect(shape == .huge || guest.read(block: 0, page: written.contains(7) ? 8 : 7) == 0)
    try guest.log.start()
    guard let first = guest.log.populatedPages(block: 0), let second = guest.log.populatedPages(block: 1) else {
      let swaps = try String(decoding: TemporaryDirectory.read("/proc/swaps"), as: UTF8.self)
      #expect(kind == .synchronousPopulated || swaps.contains("/"), "no answer, and the host does not swap: \(swaps)")
      return
    }
    #expect(pages(of: first).isSuperset(of: written))
    // Shared memory has a page for what was read, and a huge page is there as a whole.
    if shape == .small { #expect(pages(of: first) == written) }
    if shape != .memfd { #expect(pages(of: second).isEmpty) }
    guest.write(block: 1, page: 3)
    #expect(try guest.synced()[1] == [3])
  }

  @Test("What the kernel writes for the guest is noted", arguments: LogKind.available, MemoryShape.allCases)
  func kernelWrites(kind: LogKind, shape: MemoryShape) throws {
    let guest = try TrackedGuest(shape, kind, pageCounts: [700])
    guest.write(block: 0, page: 20)
    try guest.log.start()
    let zeros = unsafe open("/dev/zero", O_RDONLY)
    defer { close(zeros) }
    let count = unsafe read(zeros, guest.word(block: 0, page: 19, 100), 2 * pageByteCount)
    #expect(count == 2 * pageByteCount)
    #expect(try guest.synced() == [[19, 20, 21]])
  }

  @Test("A write to memory that was discarded is noted", arguments: LogKind.available, MemoryShape.allCases)
  func discarded(kind: LogKind, shape: MemoryShape) throws {
    let guest = try TrackedGuest(shape, kind, pageCounts: [2048])
    for page in 0..<2048 { guest.write(block: 0, page: page) }
    try guest.log.start()
    guest.discard(block: 0, pages: 100..<1400)
    _ = try guest.rearmed()
    for page in stride(from: 90, to: 1500, by: 10) { guest.write(2, block: 0, page: page) }
    let expected = Set(stride(from: 90, to: 1500, by: 10))
    #expect(try guest.synced()[0].isSuperset(of: expected))
    #expect(try guest.rearmed()[0].isSuperset(of: expected))
    for page in stride(from: 100, to: 1400, by: 100) { guest.write(3, block: 0, page: page) }
    #expect(try guest.rearmed()[0].isSuperset(of: Set(stride(from: 100, to: 1400, by: 100))))
  }

  @Test("Pages marked by hand are dirty until a rearm", arguments: LogKind.available)
  func marked(kind: LogKind) throws {
    let guest = try TrackedGuest(.small, kind, pageCounts: [5, 600])
    try guest.log.start()
    guest.log.markDirty(block: 1, pages: 500..<530)
    #expect(try guest.synced() == [[], Set(500..<530)])
    #expect(try guest.rearmed(block: 1, spans: 0..<8) == Set(500..<512))
    #expect(try guest.synced() == [[], Set(512..<530)])
    #expect(try guest.rearmed() == [[], Set(512..<530)])
    #expect(try guest.synced() == [[], []])
  }

  @Test("A peek says what was written since the last rearm, and forgets nothing", arguments: LogKind.available)
  func peeks(kind: LogKind) throws {
    let guest = try TrackedGuest(.small, kind, pageCounts: [5, 600])
    try guest.log.start()
    for page in [3, 64, 511, 599] { guest.write(block: 1, page: page) }
    guest.log.markDirty(block: 1, pages: 100..<102)
    for _ in 0..<2 { #expect(try guest.peeked(block: 1, spans: 0..<8) == [3, 64, 100, 101, 511]) }
    #expect(try guest.peeked(block: 1, spans: 1..<3) == [64, 100, 101])
    #expect(try guest.peeked(block: 1, spans: 8..<10) == [599])
    #expect(try guest.synced() == [[], [3, 64, 100, 101, 511, 599]])
    #expect(try guest.rearmed(block: 1, spans: 0..<8) == [3, 64, 100, 101, 511])
    #expect(try guest.peeked(block: 1, spans: 0..<8) == [])
    guest.write(2, block: 1, page: 64)
    #expect(try guest.peeked(block: 1, spans: 0..<8) == [64])
    #expect(try guest.rearmed() == [[], [64, 599]])
  }

  @Test("The factory's logs track, of either form")
  func factory() throws {
    let kinds: [DirtyTracking.Kind] = [.automatic, .asynchronous, .synchronous]
    for kind in kinds where DirtyTracking.refusal(of: kind) == nil {
      let guest = try TrackedGuest(.small, LogKind.available[0], pageCounts: [100])
      let bases = unsafe [UnsafeRawPointer(guest.memory.base(block: 0))]
      let logs = [
        try DirtyTracking.log(for: guest.memory, kind: kind),
        try unsafe DirtyTracking.log(
          blocks: guest.blocks, bases: bases, isZeroFilled: false, isShared: false, kind: kind),
      ]
      for log in logs {
        try log.start()
        guest.write(block: 0, page: 77)
        let maps = guest.emptyMaps
        try log.sync(into: maps)
        #expect(pages(of: maps[0]) == [77])
        log.stop()
      }
      #expect(logs[1].populatedPages(block: 0) == nil)
    }
  }
}
