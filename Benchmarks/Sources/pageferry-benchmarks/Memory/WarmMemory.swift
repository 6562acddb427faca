// SPDX-License-Identifier: Apache-2.0
import PageKernels
import PageModel

/// Regions that have all been written once, and what goes over them.
final class WarmMemory: Sendable {
  private let pageCount: Int
  /// Nothing but zero pages.
  private let zero: Region
  /// Random bytes.
  private let data: Region
  /// The same bytes in other memory.
  private let copy: Region
  /// Where copies go.
  private let target: Region
  /// Of each thread: stays in its cache.
  private let staging: [Region]

  init(pageCount: Int, _ paging: Region.Paging, threadCount: Int) throws {
    self.pageCount = pageCount
    zero = try Region(pageCount: pageCount, paging)
    data = try Region(pageCount: pageCount, paging)
    copy = try Region(pageCount: pageCount, paging)
    target = try Region(pageCount: pageCount, paging)
    staging = try (0..<threadCount).map { _ in try Region(pageCount: PageGeometry.pagesPerSpan, .small) }
    let sample = try SampleData.random.span()
    sample.read { sample in
      for span in spans(of: 0..<pageCount) {
        for region in [data, copy] {
          region.write(span.bytesOfPages) { $0.copyBytes(of: sample.extracting(0..<$0.byteCount)) }
        }
      }
    }
  }

  /// Every row, those first that others are compared with.
  func lines(_ peer: Peer?) -> [MemoryLine] {
    let pages = UInt64(pageCount)
    let read = Pass(label: References.readLabel) { [self] pages, _ in References.read(data, pages) }
    let memcpy = Pass(label: "memcpy", expected: pages) { [self] pages, _ in
      References.copyPages(data, target, pages)
    }
    let toCache = Pass(label: "memcpy to cache", expected: pages) { [self] pages, thread in
      eachSpan(of: pages, thread) { span, wanted, staging in
        staging.copyBytes(of: span)
        return Snapshot.Result(zeroMask: 0, copiedPageCount: wanted.nonzeroBitCount)
      }
    }
    let memcmp = Pass(label: "memcmp", expected: pages) { [self] pages, _ in
      References.equalPages(data, copy, pages)
    }
    let references = [
      MemoryLine(operation: "read", pass: read),
      MemoryLine(operation: "copy", pass: memcpy),
      MemoryLine(operation: "copy, spans", pass: toCache),
      MemoryLine(operation: "compare two pages", pass: memcmp, pagesRead: 2),
    ]
    let tiers = KernelTier.available
    let (copying, comparing, scalar) = (2, 3, references.count)
    return references
      + zeroScans(tiers, peer, expected: pages).map {
        MemoryLine(operation: "zero scan, zero pages", pass: $0, reference: scalar)
      }
      + tiers.map { MemoryLine(operation: "snapshot, data pages", pass: snapshot($0, pages), reference: copying) }
      + tiers.map { MemoryLine(operation: "snapshot and hash", pass: hash($0, pages), reference: copying) }
      + updates(tiers, expected: pages).map {
        MemoryLine(operation: "delta update, unchanged", pass: $0, pagesRead: 2, reference: comparing)
      }
      + encodes(tiers, peer, expected: pages).map {
        MemoryLine(operation: "delta encode, unchanged", pass: $0, pagesRead: 2, reference: comparing)
      }
  }

  private func zeroScans(_ tiers: [KernelTier], _ peer: Peer?, expected: UInt64) -> [Pass] {
    tiers.map { Pass.zeroScan(zero, $0, expected: expected) }
      + [Pass.zeroScanByMemcmp(zero, expected: expected)]
      + (peer?.zeroCheck.map { [Pass.zeroScan(zero, $0, expected: expected)] } ?? [])
  }

  private func snapshot(_ tier: KernelTier, _ expected: UInt64) -> Pass {
    Pass(label: tier.label, expected: expected) { [self] pages, thread in
      eachSpan(of: pages, thread) { span, wanted, staging in
        Snapshot.take(span: span, wanted: wanted, into: &staging, tier: tier)
      }
    }
  }

  private func hash(_ tier: KernelTier, _ expected: UInt64) -> Pass {
    Pass(label: tier.label, expected: expected) { [self] pages, thread in
      var hashes = [UInt64](repeating: 0, count: PageGeometry.pagesPerSpan)
      var room = hashes.mutableSpan
      return eachSpan(of: pages, thread) { span, wanted, staging in
        Snapshot.take(span: span, wanted: wanted, into: &staging, hashes: &room, seed: 1, tier: tier)
      }
    }
  }

  /// - Returns: how many pages were copied.
  private func eachSpan(
    of pages: Range<Int>, _ thread: Int,
    _ take: (_ span: RawSpan, _ wanted: PageMask, _ staging: inout MutableRawSpan) -> Snapshot.Result
  ) -> UInt64 {
    var copied: UInt64 = 0
    staging[thread].write(0..<PageGeometry.spanByteCount) { staging in
      for span in spans(of: pages) {
        data.read(span.bytesOfPages) { bytes in
          copied &+= UInt64(take(bytes, .lowest(span.count), &staging).copiedPageCount)
        }
      }
    }
    return copied
  }

  private func updates(_ tiers: [KernelTier], expected: UInt64) -> [Pass] {
    tiers.map { tier in
      Pass(label: tier.label, expected: expected) { [self] pages, thread in
        eachPair(of: pages, thread) { number, page, delta in
          copy.write(number.bytesOfPage) {
            Delta.update(cached: &$0, to: page, into: &delta, capacity: DeltaPairs.capacity, tier: tier)
          }
        }
      }
    }
  }

  private func encodes(_ tiers: [KernelTier], _ peer: Peer?, expected: UInt64) -> [Pass] {
    let ours = tiers.map { tier in
      Pass(label: tier.label, expected: expected) { [self] pages, thread in
        eachPair(of: pages, thread) { number, page, delta in
          copy.read(number.bytesOfPage) {
            Delta.encode(from: $0, to: page, into: &delta, capacity: DeltaPairs.capacity, tier: tier)
          }
        }
      }
    }
    guard let encode = peer?.encoder else { return ours }
    let theirs = Pass(label: Peer.label, expected: expected) { [self] pages, thread in
      eachPair(of: pages, thread) { number, page, delta in
        copy.read(number.bytesOfPage) { encode(from: $0, to: page, into: &delta, capacity: DeltaPairs.capacity) }
      }
    }
    return ours + [theirs]
  }

  /// - Returns: how many pages were unchanged.
  @inline(__always)
  private func eachPair(
    of pages: Range<Int>, _ thread: Int,
    _ encode: (_ number: Int, _ page: RawSpan, _ delta: inout MutableRawSpan) -> Delta.Result
  ) -> UInt64 {
    var unchanged: UInt64 = 0
    staging[thread].write((0..<2).bytesOfPages) { delta in
      for number in pages {
        data.read(number.bytesOfPage) { page in
          if encode(number, page, &delta) == .unchanged { unchanged &+= 1 }
        }
      }
    }
    return unchanged
  }
}

/// The spans of a range of pages; the last may be short.
func spans(of pages: Range<Int>) -> some Sequence<Range<Int>> {
  stride(from: pages.lowerBound, to: pages.upperBound, by: PageGeometry.pagesPerSpan).lazy.map {
    $0..<Swift.min($0 + PageGeometry.pagesPerSpan, pages.upperBound)
  }
}
