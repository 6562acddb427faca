// SPDX-License-Identifier: Apache-2.0
import PageKernels
import TestSupport
import Testing

@Suite("Dropping zero pages")
struct DropZeroPagesTests {
  @Test(
    "The pages that are not zero move to the front, in order", arguments: KernelTier.available,
    [(64, 101), (64, 102), (64, 103), (1, 104), (2, 105), (31, 106)] as [(Int, UInt64)])
  func packs(tier: KernelTier, shape: (pageCount: Int, seed: UInt64)) {
    let sample = SampleSpan(pageCount: shape.pageCount, seed: shape.seed)
    var pages = sample.content + [UInt8](repeating: 0xa5, count: 64)
    let result = withMutableSpan(&pages, 0..<sample.content.count) { Snapshot.dropZeroPages(from: &$0, tier: tier) }
    let kept = (0..<shape.pageCount).filter { !sample.zeroPages.contains($0) }
    #expect(result.zeroMask == Reference.mask(Array(sample.zeroPages)), "\(tier), seed \(shape.seed)")
    #expect(result.copiedPageCount == kept.count, "\(tier), seed \(shape.seed)")
    for (slot, page) in kept.enumerated()
    where Reference.page(slot, of: pages) != Reference.page(page, of: sample.content) {
      Issue.record("\(tier): page \(page), in slot \(slot), has other content, seed \(shape.seed)")
      break
    }
    #expect(pages.suffix(64).allSatisfy { $0 == 0xa5 }, "\(tier): written past the pages, seed \(shape.seed)")
  }

  @Test("Pages that are all zero, or none of them, and no page at all", arguments: KernelTier.available)
  func extremes(tier: KernelTier) {
    var zeros = [UInt8](repeating: 0, count: 64 * pageByteCount)
    let none = withMutableSpan(&zeros, 0..<zeros.count) { Snapshot.dropZeroPages(from: &$0, tier: tier) }
    #expect(none == Snapshot.Result(zeroMask: .max, copiedPageCount: 0), "\(tier)")

    let full = SamplePages.image(Array(repeating: .random, count: 64), seed: 111)
    var pages = full
    let all = withMutableSpan(&pages, 0..<pages.count) { Snapshot.dropZeroPages(from: &$0, tier: tier) }
    #expect(all == Snapshot.Result(zeroMask: 0, copiedPageCount: 64), "\(tier)")
    #expect(pages == full, "\(tier)")

    let empty = withMutableSpan(&pages, 0..<0) { Snapshot.dropZeroPages(from: &$0, tier: tier) }
    #expect(empty == Snapshot.Result(zeroMask: 0, copiedPageCount: 0), "\(tier)")
  }

  @Test("Nothing outside the pages is touched", arguments: KernelTier.available)
  func staysInside(tier: KernelTier) {
    let sample = SampleSpan(pageCount: 64, seed: 121)
    let pages = GuardedPages(sample.content)
    let result = pages.withMutableSpan { Snapshot.dropZeroPages(from: &$0, tier: tier) }
    #expect(result.zeroMask == Reference.mask(Array(sample.zeroPages)), "\(tier), seed 121")
  }
}
