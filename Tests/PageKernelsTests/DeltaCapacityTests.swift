// SPDX-License-Identifier: Apache-2.0
import PageKernels
import TestSupport
import Testing

@Suite("Deltas and the room that they may take", .serialized)
struct DeltaCapacityTests {
  /// Runs of `length` differing bytes, `gap` apart.
  private func pair(_ length: Int, _ gap: Int) -> (base: [UInt8], page: [UInt8]) {
    let base = (0..<pageByteCount).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    return (base, base.enumerated().map { $0.offset % (length + gap) < gap ? $0.element : ~$0.element })
  }

  @Test(
    "A delta overflows exactly if it is longer than the capacity; the copy is made all the same",
    arguments: KernelTier.available,
    // The longest delta there is, most second bytes of lengths, long runs only, a few bytes, one, the whole page.
    [(1, 1), (128, 128), (1, 128), (5, 60), (500, 1000), (3, 1300), (1, 4095), (4096, 0)] as [(Int, Int)])
  func everyCapacity(tier: KernelTier, runs: (length: Int, gap: Int)) {
    let (base, page) = pair(runs.length, runs.gap)
    let expected = Reference.delta(from: base, to: page)
    for capacity in 0...expected.count + 3 {
      let result: Delta.Result = capacity < expected.count ? .overflow : .delta(byteCount: expected.count)
      let encoding = DeltaCall.encode(base, page, capacity: capacity, tier: tier)
      var cached = base
      let update = DeltaCall.update(&cached, page, capacity: capacity, tier: tier)
      guard encoding.result == result, update.result == result, encoding.isInside, update.isInside,
        isSame(cached, page), result == .overflow || isSame(encoding.delta, expected) && isSame(update.delta, expected)
      else {
        Issue.record(
          "\(tier), \(runs), \(capacity) of \(expected.count) bytes: \(encoding), \(update), copy \(cached == page)")
        return
      }
    }
  }

  @Test("Pages changed in any way overflow at one byte less than the delta", arguments: KernelTier.available)
  func oneByteLess(tier: KernelTier) {
    var generator = SeededGenerator(seed: 331)
    for round in 0..<200 {
      let (base, page) = DeltaShape.allCases[round % DeltaShape.allCases.count].pair(using: &generator)
      let expected = Reference.delta(from: base, to: page)
      guard !expected.isEmpty else { continue }
      for capacity in [expected.count - 1, Int.random(in: 0..<expected.count, using: &generator)] {
        let encoding = DeltaCall.encode(base, page, capacity: capacity, tier: tier)
        #expect(encoding.result == .overflow && encoding.isInside, "\(tier), round \(round), seed 331")
        var cached = base
        let update = DeltaCall.update(&cached, page, capacity: capacity, tier: tier)
        #expect(update.result == .overflow && update.isInside, "\(tier), round \(round), seed 331")
        #expect(isSame(cached, page), "\(tier), round \(round), seed 331")
      }
    }
  }

  @Test("Equal pages are unchanged, whatever the capacity, and nothing is written", arguments: KernelTier.available)
  func unchanged(tier: KernelTier) {
    for capacity in [0, 1, 100, 4096] {
      let encoding = DeltaCall.encode(patternPage, patternPage, capacity: capacity, tier: tier)
      #expect(encoding.result == .unchanged && encoding.isInside, "\(tier), \(capacity) bytes")
      var cached = patternPage
      let update = DeltaCall.update(&cached, patternPage, capacity: capacity, tier: tier)
      #expect(update.result == .unchanged && update.isInside && cached == patternPage, "\(tier), \(capacity) bytes")
    }
  }
}
