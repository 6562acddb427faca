// SPDX-License-Identifier: Apache-2.0
import PageKernels
import PageModel

extension Case {
  /// The checksum of a frame's body, the hash that tells whether a page has changed, and the digest of a page.
  static var hash: [Case] {
    [
      Case(
        name: "hash/checksum-256k", byteCount: PageGeometry.spanByteCount,
        variants: Variant.tiers { tier in
          let bytes = try SampleData.random.span()
          return { checksum(bytes, tier, $0) }
        } + [.memcpy(pageCount: PageGeometry.pagesPerSpan)]),
      Case(
        name: "hash/page-seeded", byteCount: PageGeometry.pageByteCount,
        variants: Variant.tiers { tier in
          let page = try SampleData.random.span(pageCount: 1)
          return { seeded(page, tier, $0) }
        } + [.memcpy(pageCount: 1)]),
      Case(
        name: "hash/page-digest", byteCount: PageGeometry.pageByteCount,
        variants: [
          .memcpy(pageCount: 1),
          .gatedAtBestTier("digest") {
            let page = try SampleData.random.span(pageCount: 1)
            return { digest(page, $0) }
          },
        ]),
    ]
  }
}

@inline(never)
private func checksum(_ bytes: Pages, _ tier: KernelTier, _ times: Int) -> UInt64 {
  bytes.read { span in
    var sum: UInt64 = 0
    for _ in 0..<times { sum &+= PageHash.checksum(span, tier: tier) }
    return sum
  }
}

@inline(never)
private func seeded(_ page: Pages, _ tier: KernelTier, _ times: Int) -> UInt64 {
  page.read { span in
    var sum: UInt64 = 0
    for number in 0..<times { sum &+= PageHash.page(span, seed: UInt64(number), tier: tier) }
    return sum
  }
}

@inline(never)
private func digest(_ page: Pages, _ times: Int) -> UInt64 {
  page.read { span in
    var digest = BlockDigest()
    for number in 0..<times { digest.add(page: span, number: UInt64(number)) }
    return digest.low ^ digest.high
  }
}
