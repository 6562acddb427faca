// SPDX-License-Identifier: Apache-2.0
import PageKernels
import TestSupport
import Testing

/// A zero page in which the bytes of `runs` are set.
private func page(_ runs: [Range<Int>]) -> [UInt8] {
  var page = [UInt8](repeating: 0, count: pageByteCount)
  for run in runs { for at in run { page[at] = UInt8(truncatingIfNeeded: at) | 1 } }
  return page
}

@Suite("Deltas between pages")
struct DeltaEncodeTests {
  private let zeros = [UInt8](repeating: 0, count: pageByteCount)

  /// Compares what the kernels make of each set of runs with what the runs say, on a page of zeros.
  private func check(_ cases: some Sequence<[Range<Int>]>, tier: KernelTier) {
    for runs in cases {
      let page = page(runs)
      if let problem = DeltaCall.problem(zeros, page, expected: Reference.delta(runs, of: page), tier: tier) {
        Issue.record("\(tier), runs \(runs.prefix(4)) of \(runs.count): \(problem)")
        return
      }
    }
  }

  @Test(
    "Pages changed in any way have the reference's delta, and it leads from one to the other",
    arguments: KernelTier.available, DeltaShape.allCases)
  func shapes(tier: KernelTier, shape: DeltaShape) throws {
    var generator = SeededGenerator(seed: 301)
    for round in 0..<25 {
      let (base, page) = shape.pair(using: &generator)
      let expected = Reference.delta(from: base, to: page)
      let problem = DeltaCall.problem(base, page, expected: expected, tier: tier)
      #expect(problem == nil, "\(tier), \(shape), round \(round), seed 301")
      var target = base
      try Reference.apply(expected, to: &target)
      #expect(isSame(target, page), "the reference, \(shape), round \(round), seed 301")
    }
  }

  @Test("One byte, anywhere", arguments: KernelTier.available)
  func oneByte(tier: KernelTier) { check((0..<pageByteCount).map { [$0..<$0 + 1] }, tier: tier) }

  @Test("A run of any length at the start of the page", arguments: KernelTier.available)
  func atStart(tier: KernelTier) { check((1...pageByteCount).map { [0..<$0] }, tier: tier) }

  @Test("A run of any length at the end of the page", arguments: KernelTier.available)
  func atEnd(tier: KernelTier) { check((0..<pageByteCount).map { [$0..<pageByteCount] }, tier: tier) }

  private static let nearby = [1, 2, 15, 16, 17, 63, 64]

  @Test("Runs across every 64-byte boundary", arguments: KernelTier.available)
  func acrossBoundaries(tier: KernelTier) {
    for boundary in stride(from: 64, to: pageByteCount, by: 64) {
      check(
        Self.nearby.flatMap { before in Self.nearby.map { [boundary - before..<boundary + $0] } }
          + Self.nearby.flatMap { [[boundary - $0..<boundary], [boundary..<boundary + $0]] }, tier: tier)
    }
  }

  @Test("Gaps across every 64-byte boundary", arguments: KernelTier.available)
  func gapsAcrossBoundaries(tier: KernelTier) {
    for boundary in stride(from: 128, to: pageByteCount - 64, by: 64) {
      check(
        Self.nearby.flatMap { before in
          Self.nearby.map { [boundary - 128..<boundary - before, boundary + $0..<min(boundary + 200, pageByteCount)] }
        }, tier: tier)
    }
  }

  /// 127 and 128 are where lengths grow; 62 to 66 where a word of the page ends.
  @Test("Runs and gaps of fixed lengths, in turns", arguments: KernelTier.available)
  func inTurns(tier: KernelTier) {
    let lengths = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 62, 63, 64, 65, 66, 126, 127, 128, 129, 500]
    for length in lengths {
      check(
        lengths.flatMap { gap in
          [0, 1, gap].map { first in
            stride(from: first, to: pageByteCount, by: length + gap).map { $0..<min($0 + length, pageByteCount) }
          }
        }, tier: tier)
    }
  }

  @Test("Buffers that begin at any byte", arguments: KernelTier.available)
  func unaligned(tier: KernelTier) {
    var generator = SeededGenerator(seed: 311)
    for offset in 0..<64 {
      let shape = DeltaShape.allCases[offset % DeltaShape.allCases.count]
      let (base, page) = shape.pair(using: &generator)
      let expected = Reference.delta(from: base, to: page)
      // Three offsets that take all values, each on its own.
      let (atPage, atDelta) = ((offset * 5 + 3) % 64, (offset * 11 + 7) % 64)
      var bases = [UInt8](repeating: 0xee, count: offset) + base
      let pages = [UInt8](repeating: 0xee, count: atPage) + page
      var room = [UInt8](repeating: 0xee, count: atDelta + expected.count + Delta.scratchByteCount)
      let result = withMutableSpan(&room, atDelta..<room.count) { to in
        withMutableSpan(&bases, offset..<bases.count) { cached in
          withSpan(pages, atPage..<pages.count) {
            Delta.update(cached: &cached, to: $0, into: &to, capacity: expected.count, tier: tier)
          }
        }
      }
      #expect(
        result == (expected.isEmpty ? .unchanged : .delta(byteCount: expected.count)),
        "\(tier), \(shape), offset \(offset), seed 311")
      #expect(
        isSame(Array(room[atDelta..<atDelta + expected.count]), expected), "\(tier), \(shape), offset \(offset)")
      #expect(isSame(Array(bases[offset...]), page), "\(tier), \(shape), offset \(offset)")

      var target = [UInt8](repeating: 0xee, count: offset) + base
      #expect(throws: Never.self, "\(tier), \(shape), offset \(offset)") {
        try withMutableSpan(&target, offset..<target.count) { target in
          try withSpan(room, atDelta..<atDelta + expected.count) { try Delta.apply($0, to: &target, tier: tier) }
        }
      }
      #expect(isSame(Array(target[offset...]), page), "\(tier), \(shape), offset \(offset)")
    }
  }

  @Test("Nothing outside the pages is read, or written", arguments: KernelTier.available, DeltaShape.allCases)
  func staysInside(tier: KernelTier, shape: DeltaShape) {
    var generator = SeededGenerator(seed: 321)
    let (base, page) = shape.pair(using: &generator)
    let expected = Reference.delta(from: base, to: page)
    let (cached, guest, room) = (GuardedPages(base), GuardedPages(page), GuardedPages(pageCount: 2))
    let result = room.withMutableSpan { room in
      // The last bytes before memory that may not be touched.
      var room = room._mutatingExtracting(last: expected.count + Delta.scratchByteCount)
      return cached.withMutableSpan { cached in
        guest.withSpan { Delta.update(cached: &cached, to: $0, into: &room, capacity: expected.count, tier: tier) }
      }
    }
    #expect(result == (expected.isEmpty ? .unchanged : .delta(byteCount: expected.count)), "\(tier), \(shape)")
    let delta = GuardedPages(pageCount: 2)
    let target = GuardedPages(base)
    let start = 2 * pageByteCount - expected.count
    for (at, byte) in expected.enumerated() { delta[start + at] = byte }
    #expect(throws: Never.self, "\(tier), \(shape)") {
      try target.withMutableSpan { target in
        try delta.withSpan { try Delta.apply($0.extracting(last: expected.count), to: &target, tier: tier) }
      }
    }
    #expect((0..<pageByteCount).allSatisfy { target[$0] == page[$0] }, "\(tier), \(shape)")
  }
}
