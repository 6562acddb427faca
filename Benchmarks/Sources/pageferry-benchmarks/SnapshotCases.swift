// SPDX-License-Identifier: Apache-2.0
import PageKernels
import PageModel

extension Case {
  /// Taking a span out of guest memory, and classifying a span that was copied whole.
  static var snapshot: [Case] {
    [
      span("snapshot/all-data") { _ in true },
      span("snapshot/half-zero") { $0.isMultiple(of: 2) },
      span("snapshot/all-zero") { _ in false },
      Case(
        name: "snapshot/hash-all-data", byteCount: PageGeometry.spanByteCount,
        variants: Variant.tiers { tier in
          let guest = try SampleData.random.span()
          let staging = try Pages(count: PageGeometry.pagesPerSpan)
          return { takeSnapshotAndHashes(guest, staging, tier, $0) }
        } + [.memcpy(pageCount: PageGeometry.pagesPerSpan)]),
      Case(
        name: "snapshot/drop-zero-pages", byteCount: PageGeometry.spanByteCount,
        variants: Variant.tiers { tier in
          let pages = try Pages(count: PageGeometry.pagesPerSpan, where: isDataPage)
          return { dropZeroPages(pages, tier, $0) }
        } + [.memcpy(pageCount: PageGeometry.pagesPerSpan)]),
    ]
  }

  private static func span(_ name: String, hasData: @escaping (Int) -> Bool) -> Case {
    Case(
      name: name, byteCount: PageGeometry.spanByteCount,
      variants: Variant.tiers { tier in
        let guest = try Pages(count: PageGeometry.pagesPerSpan, where: hasData)
        let staging = try Pages(count: PageGeometry.pagesPerSpan)
        return { takeSnapshot(guest, staging, tier, $0) }
      } + [.memcpy(pageCount: PageGeometry.pagesPerSpan)])
  }
}

/// Every other page, the first one zero: nothing stays where it was.
private func isDataPage(_ page: Int) -> Bool { !page.isMultiple(of: 2) }

@inline(never)
private func takeSnapshot(_ guest: Pages, _ staging: Pages, _ tier: KernelTier, _ times: Int) -> UInt64 {
  guest.read { span in
    staging.write { target in
      var copied: UInt64 = 0
      for _ in 0..<times {
        copied &+= UInt64(Snapshot.take(span: span, wanted: .max, into: &target, tier: tier).copiedPageCount)
      }
      return copied
    }
  }
}

@inline(never)
private func takeSnapshotAndHashes(_ guest: Pages, _ staging: Pages, _ tier: KernelTier, _ times: Int) -> UInt64 {
  var hashes = [UInt64](repeating: 0, count: PageGeometry.pagesPerSpan)
  var room = hashes.mutableSpan
  guest.read { span in
    staging.write { target in
      for number in 0..<times {
        _ = Snapshot.take(
          span: span, wanted: .max, into: &target, hashes: &room, seed: UInt64(number), tier: tier)
      }
    }
  }
  return room[0]
}

@inline(never)
private func dropZeroPages(_ pages: Pages, _ tier: KernelTier, _ times: Int) -> UInt64 {
  pages.write { span in
    var kept: UInt64 = 0
    for _ in 0..<times {
      kept &+= UInt64(Snapshot.dropZeroPages(from: &span, tier: tier).copiedPageCount)
      // The data pages have moved to the front half. They differ from zero pages in one byte, so that putting the
      // span back for the next operation is 16 stores.
      for page in stride(from: 0, to: PageGeometry.pagesPerSpan / 2, by: 2) {
        span.storeBytes(of: 0, toByteOffset: page * PageGeometry.pageByteCount, as: UInt8.self)
      }
    }
    return kept
  }
}
