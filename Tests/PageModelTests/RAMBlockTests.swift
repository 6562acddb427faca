// SPDX-License-Identifier: Apache-2.0
import PageModel
import Testing

@Suite("RAM blocks")
struct RAMBlockTests {
  @Test("The spans of a block hold each of its pages once", arguments: [1, 63, 64, 65, 127, 128, 129, 1000])
  func spansHoldEachPage(pageCount: Int) {
    let block = RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: UInt64(pageCount) * 4096)
    var pages: [Int] = []
    for span in 0..<block.spanCount {
      let mask = block.pages(ofSpan: span)
      #expect(mask != 0, "span \(span) of \(block.spanCount) has no page")
      pages += (0..<64).filter { (mask >> PageMask($0)) % 2 == 1 }.map { span * 64 + $0 }
    }
    #expect(pages == Array(0..<pageCount))
    #expect(block.pageCount == pageCount)
  }

  @Test("A block of 64 TiB has 2^34 pages")
  func largest() {
    let block = RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: 1 << 46)
    #expect(block.pageCount == 1 << 34)
    #expect(block.spanCount == 1 << 28)
    #expect(block.pages(ofSpan: (1 << 28) - 1) == .max)
  }

  @Test("The sizes that the wire is built on are what the protocol says")
  func geometry() {
    #expect(PageGeometry.pageByteCount == 4096)
    #expect(PageGeometry.pagesPerSpan == 64)
    #expect(PageGeometry.spanByteCount == 262_144)
    #expect(PageGeometry.stripeByteCount == 2_097_152)
  }
}
