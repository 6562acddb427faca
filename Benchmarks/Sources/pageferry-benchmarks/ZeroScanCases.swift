// SPDX-License-Identifier: Apache-2.0
import PageKernels
import PageModel

extension Case {
  /// Is this page zero: at worst (all of it is read), at best, and with the set bit where it is found last.
  static var zeroScan: [Case] {
    [
      page("zero-scan/zero-page", setByte: nil),
      page("zero-scan/first-byte-set", setByte: 0),
      page("zero-scan/last-byte-set", setByte: PageGeometry.pageByteCount - 1),
      Case(
        name: "zero-scan/span-half-zero", byteCount: PageGeometry.spanByteCount,
        variants: Variant.tiers { tier in
          let span = try Pages(count: PageGeometry.pagesPerSpan) { $0.isMultiple(of: 2) }
          return { zeroMask(span, tier, $0) }
        }),
    ]
  }

  private static func page(_ name: String, setByte: Int?) -> Case {
    Case(
      // A scan that ends at the first byte covers no page, so that GB/s would be a fiction.
      name: name, byteCount: setByte == 0 ? 0 : PageGeometry.pageByteCount,
      variants: Variant.tiers { tier in
        let page = try Pages(count: 1)
        if let setByte { page.fill { $0.storeBytes(of: 1, toByteOffset: setByte, as: UInt8.self) } }
        return { isZero(page, tier, $0) }
      })
  }
}

@inline(never)
private func isZero(_ page: Pages, _ tier: KernelTier, _ times: Int) -> UInt64 {
  page.read { span in
    var found: UInt64 = 0
    for _ in 0..<times where ZeroScan.isZero(page: span, tier: tier) { found &+= 1 }
    return found
  }
}

@inline(never)
private func zeroMask(_ pages: Pages, _ tier: KernelTier, _ times: Int) -> UInt64 {
  pages.read { span in
    var seen: UInt64 = 0
    for _ in 0..<times { seen &+= ZeroScan.mask(span: span, wanted: .max, tier: tier) }
    return seen
  }
}
