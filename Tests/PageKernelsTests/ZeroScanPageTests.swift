// SPDX-License-Identifier: Apache-2.0
import PageKernels
import TestSupport
import Testing

@Suite("Zero scan of a page")
struct ZeroScanPageTests {
  @Test("A single set bit is never missed", arguments: KernelTier.available)
  func singleBit(tier: KernelTier) {
    var page = [UInt8](repeating: 0, count: pageByteCount)
    var missed: [(byte: Int, bit: Int)] = []
    for byte in 0..<pageByteCount {
      for bit in 0..<8 {
        page[byte] = 1 << UInt8(bit)
        if withSpan(page, nil, { ZeroScan.isZero(page: $0, tier: tier) }) { missed.append((byte, bit)) }
      }
      page[byte] = 0
    }
    #expect(missed.isEmpty, "\(tier): \(missed.count) missed, first \(String(describing: missed.first))")
  }

  @Test("A page of zeros is zero, whatever lies around it and however it is aligned", arguments: KernelTier.available)
  func zerosAmongOnes(tier: KernelTier) {
    var buffer = [UInt8](repeating: 0xff, count: pageByteCount + 256)
    for offset in 0...128 {
      let range = offset..<offset + pageByteCount
      for byte in range { buffer[byte] = 0 }
      let isZero = withSpan(buffer, range) { ZeroScan.isZero(page: $0, tier: tier) }
      #expect(isZero, "\(tier), offset \(offset)")
      buffer[offset + pageByteCount - 1] = 1
      let withLastByte = withSpan(buffer, range) { ZeroScan.isZero(page: $0, tier: tier) }
      #expect(!withLastByte, "\(tier), offset \(offset), last byte set")
      buffer[offset] = 0xff
    }
  }

  @Test("Pages of every kind are judged as the reference judges them", arguments: KernelTier.available)
  func kinds(tier: KernelTier) {
    var generator = SeededGenerator(seed: 31)
    for kind in PageKind.allCases {
      for round in 0..<10 {
        let page = SamplePages.page(kind, using: &generator)
        let isZero = withSpan(page) { ZeroScan.isZero(page: $0, tier: tier) }
        #expect(isZero == (kind == .zero), "\(tier), \(kind), round \(round), seed 31")
      }
    }
  }

  @Test("Nothing outside the page is read", arguments: KernelTier.available)
  func staysInside(tier: KernelTier) {
    let page = GuardedPages(pageCount: 1)
    let isZero = page.withSpan { ZeroScan.isZero(page: $0, tier: tier) }
    #expect(isZero, "\(tier)")
    page[4095] = 0x80
    let withLastByte = page.withSpan { ZeroScan.isZero(page: $0, tier: tier) }
    #expect(!withLastByte, "\(tier), last byte set")
  }
}
