// SPDX-License-Identifier: Apache-2.0
import PageKernels
import TestSupport
import Testing

@Suite("Zero scan of a span", .serialized)
struct ZeroScanSpanTests {
  @Test(
    "The zero pages among those wanted are found, and no others", arguments: KernelTier.available,
    [(64, 41), (64, 42), (64, 43), (1, 44), (17, 45), (63, 46)] as [(Int, UInt64)])
  func mask(tier: KernelTier, shape: (pageCount: Int, seed: UInt64)) {
    let sample = SampleSpan(pageCount: shape.pageCount, seed: shape.seed)
    for wanted in sample.wanted {
      let found = withSpan(sample.content) { ZeroScan.mask(span: $0, wanted: wanted, tier: tier) }
      let expected = Reference.mask(Reference.pages(wanted).filter { sample.zeroPages.contains($0) })
      #expect(
        found == expected,
        "\(tier), pages \(Reference.pages(found ^ expected)) of wanted 0x\(String(wanted, radix: 16)), seed \(shape.seed)"
      )
    }
  }

  @Test("A span that begins at any byte is scanned as one that is aligned", arguments: KernelTier.available)
  func unaligned(tier: KernelTier) {
    let sample = SampleSpan(pageCount: 6, seed: 51)
    let expected = Reference.mask(Array(sample.zeroPages))
    for offset in 0..<64 {
      let buffer =
        [UInt8](repeating: 0xff, count: offset) + sample.content + [UInt8](repeating: 0xff, count: 64)
      let found = withSpan(buffer, offset..<offset + sample.content.count) {
        ZeroScan.mask(span: $0, wanted: 0b111111, tier: tier)
      }
      #expect(found == expected, "\(tier), offset \(offset), seed 51")
    }
  }

  @Test("Pages that are not wanted are not read", arguments: KernelTier.available, [61, 62, 63] as [UInt64])
  func unwantedPagesAreNotRead(tier: KernelTier, seed: UInt64) {
    let sample = SampleSpan(pageCount: 64, seed: seed)
    var generator = SeededGenerator(seed: seed)
    let wanted = generator.next()
    let pages = GuardedPages(sample.content)
    for page in Reference.pages(~wanted) { pages.protect(page: page) }
    let found = pages.withSpan { ZeroScan.mask(span: $0, wanted: wanted, tier: tier) }
    let expected = Reference.mask(Reference.pages(wanted).filter { sample.zeroPages.contains($0) })
    #expect(found == expected, "\(tier), seed \(seed)")
  }
}
