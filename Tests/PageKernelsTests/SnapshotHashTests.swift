// SPDX-License-Identifier: Apache-2.0
import PageKernels
import TestSupport
import Testing

@Suite("Snapshots with hashes")
struct SnapshotHashTests {
  private static let untouched: UInt64 = 0xa5a5_a5a5_a5a5_a5a5

  @Test(
    "The hashes are those of the copied pages, and the rest is as without them", arguments: KernelTier.available,
    [(64, 371, 0), (64, 372, 0x0123_4567_89ab_cdef), (1, 373, 1), (33, 374, .max)] as [(Int, UInt64, UInt64)])
  func hashes(tier: KernelTier, shape: (pageCount: Int, seed: UInt64, hashSeed: UInt64)) {
    let sample = SampleSpan(pageCount: shape.pageCount, seed: shape.seed)
    for wanted in sample.wanted {
      let room = wanted.nonzeroBitCount
      var plain = [UInt8](repeating: 0, count: room * pageByteCount)
      var staging = plain
      var hashes = [UInt64](repeating: Self.untouched, count: room + 2)
      let expected = withSpan(sample.content) { span in
        withMutableSpan(&plain, 0..<plain.count) { Snapshot.take(span: span, wanted: wanted, into: &$0, tier: tier) }
      }
      let result = withSpan(sample.content) { span in
        withMutableSpan(&staging, 0..<staging.count) { staging in
          var hashes = hashes.mutableSpan
          return Snapshot.take(
            span: span, wanted: wanted, into: &staging, hashes: &hashes, seed: shape.hashSeed, tier: tier)
        }
      }
      let place: Comment = "\(tier), wanted 0x\(String(wanted, radix: 16)), seed \(shape.seed)"
      #expect(result == expected, place)
      for slot in 0..<result.copiedPageCount {
        let range = slot * pageByteCount..<(slot + 1) * pageByteCount
        #expect(isSame(Array(staging[range]), Array(plain[range])), "slot \(slot), \(place)")
        // The scalar tier is the oracle of all.
        let hash = withSpan(plain, range) { PageHash.page($0, seed: shape.hashSeed, tier: .scalar) }
        #expect(hashes[slot] == hash, "slot \(slot), \(place)")
      }
      #expect(hashes[room...].allSatisfy { $0 == Self.untouched }, "past the hashes: \(place)")
    }
  }

  /// Computed with libxxhash's own program interface.
  @Test(
    "The hash of a page under a seed is its XXH3-64", arguments: KernelTier.available,
    [
      (0, 0x99e3_c931_dab3_e711), (1, 0x127f_f2ed_14b9_79b8), (0x0123_4567_89ab_cdef, 0x233d_beb4_eb8b_af9b),
      (.max, 0x9bf0_00b8_3406_d4b2),
    ] as [(UInt64, UInt64)])
  func knownAnswers(tier: KernelTier, answer: (seed: UInt64, hash: UInt64)) {
    let hash = withSpan(patternPage) { PageHash.page($0, seed: answer.seed, tier: tier) }
    #expect(hash == answer.hash, "\(tier)")
  }

  @Test("Under the seed 0 it is the checksum", arguments: KernelTier.available)
  func seedZero(tier: KernelTier) {
    var generator = SeededGenerator(seed: 381)
    for kind in PageKind.allCases {
      let page = SamplePages.page(kind, using: &generator)
      let hash = withSpan(page) { PageHash.page($0, seed: 0, tier: tier) }
      let checksum = withSpan(page) { PageHash.checksum($0, tier: tier) }
      #expect(hash == checksum && hash == PageHash.checksum(page), "\(tier), \(kind), seed 381")
    }
  }
}
