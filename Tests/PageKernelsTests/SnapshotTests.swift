// SPDX-License-Identifier: Apache-2.0
import PageKernels
import TestSupport
import Testing

@Suite("Snapshots")
struct SnapshotTests {
  private static let untouched: UInt8 = 0xa5

  /// Takes a snapshot and compares all of it with the reference: masks, packed content, and what lies beyond.
  private func check(_ sample: SampleSpan, wanted: UInt64, tier: KernelTier, seed: UInt64) {
    let room = wanted.nonzeroBitCount * pageByteCount
    var staging = [UInt8](repeating: Self.untouched, count: room + 100)
    let result = withSpan(sample.content) { span in
      withMutableSpan(&staging, 0..<room) { Snapshot.take(span: span, wanted: wanted, into: &$0, tier: tier) }
    }
    let place: Comment = "\(tier), wanted 0x\(String(wanted, radix: 16)), seed \(seed)"
    let zeros = Reference.pages(wanted).filter { sample.zeroPages.contains($0) }
    let copies = Reference.pages(wanted).filter { !sample.zeroPages.contains($0) }
    #expect(result == Snapshot.Result(zeroMask: Reference.mask(zeros), copiedPageCount: copies.count), place)
    for (slot, page) in copies.enumerated()
    where Reference.page(slot, of: staging) != Reference.page(page, of: sample.content) {
      Issue.record("page \(page), in slot \(slot), has other content: \(place)")
      break
    }
    #expect(staging[room...].allSatisfy { $0 == Self.untouched }, "past the staging buffer: \(place)")
  }

  @Test(
    "A snapshot holds the wanted pages that are not zero, packed in order", arguments: KernelTier.available,
    [(64, 71), (64, 72), (64, 73), (1, 74), (2, 75), (33, 76)] as [(Int, UInt64)])
  func packed(tier: KernelTier, shape: (pageCount: Int, seed: UInt64)) {
    let sample = SampleSpan(pageCount: shape.pageCount, seed: shape.seed)
    for wanted in sample.wanted { check(sample, wanted: wanted, tier: tier, seed: shape.seed) }
  }

  @Test("A page whose only set byte is anywhere is copied exactly", arguments: KernelTier.available)
  func singleByteAnywhere(tier: KernelTier) {
    var page = [UInt8](repeating: 0, count: pageByteCount)
    var staging = page
    var wrong: [Int] = []
    for byte in 0..<pageByteCount {
      page[byte] = 0x40
      for index in stride(from: byte % 61, to: pageByteCount, by: 61) { staging[index] = Self.untouched }
      let result = withSpan(page) { span in
        withMutableSpan(&staging, 0..<pageByteCount) { Snapshot.take(span: span, wanted: 1, into: &$0, tier: tier) }
      }
      if result != Snapshot.Result(zeroMask: 0, copiedPageCount: 1) || staging != page { wrong.append(byte) }
      page[byte] = 0
    }
    #expect(wrong.isEmpty, "\(tier): \(wrong.count) offsets wrong, first \(wrong.first ?? -1)")
  }

  @Test("A span that begins at any byte, into staging that does, is copied exactly", arguments: KernelTier.available)
  func unaligned(tier: KernelTier) {
    let sample = SampleSpan(pageCount: 5, seed: 81)
    let expected = (0..<5).filter { !sample.zeroPages.contains($0) }.flatMap { Reference.page($0, of: sample.content) }
    for offset in 0..<64 {
      let buffer = [UInt8](repeating: 0xff, count: offset) + sample.content
      let start = 63 - offset
      var staging = [UInt8](repeating: Self.untouched, count: sample.content.count + 64)
      let result = withSpan(buffer, offset..<buffer.count) { span in
        withMutableSpan(&staging, start..<start + sample.content.count) {
          Snapshot.take(span: span, wanted: 0b11111, into: &$0, tier: tier)
        }
      }
      #expect(result.zeroMask == Reference.mask(Array(sample.zeroPages)), "\(tier), offset \(offset), seed 81")
      #expect(Array(staging[start..<start + expected.count]) == expected, "\(tier), offset \(offset), seed 81")
      #expect(staging.prefix(start).allSatisfy { $0 == Self.untouched }, "\(tier), offset \(offset): before staging")
    }
  }

  @Test(
    "Pages that are not wanted are not read, and staging needs no more room than the wanted pages",
    arguments: KernelTier.available, [91, 92, 93] as [UInt64])
  func staysInside(tier: KernelTier, seed: UInt64) {
    let sample = SampleSpan(pageCount: 64, seed: seed)
    var generator = SeededGenerator(seed: seed)
    let wanted = generator.next()
    let source = GuardedPages(sample.content)
    for page in Reference.pages(~wanted) { source.protect(page: page) }
    let staging = GuardedPages(pageCount: wanted.nonzeroBitCount)
    let result = source.withSpan { span in
      staging.withMutableSpan { Snapshot.take(span: span, wanted: wanted, into: &$0, tier: tier) }
    }
    let zeros = Reference.pages(wanted).filter { sample.zeroPages.contains($0) }
    #expect(result.zeroMask == Reference.mask(zeros), "\(tier), seed \(seed)")
  }
}
