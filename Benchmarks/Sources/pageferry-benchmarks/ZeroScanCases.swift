// SPDX-License-Identifier: Apache-2.0
import PageKernels
import PageModel

extension Case {
  /// Is this page zero: at worst (all of it is read), at best, and with the set bit where it is found last.
  static func zeroScan(_ peer: Peer?) -> [Case] {
    [
      page("zero-scan/zero-page", setByte: nil, peer),
      page("zero-scan/first-byte-set", setByte: 0, peer),
      page("zero-scan/last-byte-set", setByte: PageGeometry.pageByteCount - 1, peer),
      Case(
        name: "zero-scan/span-half-zero", byteCount: PageGeometry.spanByteCount,
        variants: Variant.tiers { tier in
          let span = try Pages(count: PageGeometry.pagesPerSpan) { $0.isMultiple(of: 2) }
          return { zeroMask(span, tier, $0) }
        }),
    ]
  }

  private static func page(_ name: String, setByte: Int?, _ peer: Peer?) -> Case {
    func sample() throws -> Pages {
      let page = try Pages(count: 1)
      if let setByte { page.fill { $0.storeBytes(of: 1, toByteOffset: setByte, as: UInt8.self) } }
      return page
    }
    var variants = Variant.tiers { tier in
      let page = try sample()
      return { isZero(page, tier, $0) }
    }
    if let check = peer?.zeroCheck {
      variants.append(
        .timed(Peer.label) {
          let page = try sample()
          return { isZero(page, check, $0) }
        })
    }
    // A scan that ends at the first byte covers no page, so that GB/s would be a fiction.
    return Case(name: name, byteCount: setByte == 0 ? 0 : PageGeometry.pageByteCount, variants: variants)
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
private func isZero(_ page: Pages, _ check: Peer.ZeroCheck, _ times: Int) -> UInt64 {
  page.read { span in
    var found: UInt64 = 0
    for _ in 0..<times where check(span) { found &+= 1 }
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
