// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import PageKernels
import PageModel
import TestSupport
import Testing

@Suite("Image sources")
struct ImageSourceTests {
  private let directory = TemporaryDirectory()

  private func masks(for block: RAMBlock, span: Int, seed: UInt64) -> [PageMask] {
    var generator = SeededGenerator(seed: seed)
    let all = block.pages(ofSpan: span)
    return [all, 0]
      + (0..<8).map { index in
        let (first, second) = (generator.next(), generator.next())
        return [first & second, first, first | second][index % 3] & all
      }
  }

  @Test(
    "A snapshot is what the file holds, for any pages wanted",
    arguments: [(1, 321), (64, 322), (65, 323), (150, 324), (192, 325)] as [(Int, UInt64)])
  func snapshot(pageCount: Int, seed: UInt64) throws {
    let kinds = SeededKinds(count: pageCount, seed: seed).kinds
    let content = SamplePages.image(kinds, seed: seed)
    let source = try ImageSource(path: try directory.write(content, to: "image"))
    let block = source.blocks.blocks[0]
    #expect(source.blocks.blocks == [RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: UInt64(content.count))])
    for span in 0..<block.spanCount {
      source.prefetch(block: 0, span: span)
      for wanted in masks(for: block, span: span, seed: seed) {
        let taken = try Taken(source, span: span, wanted: wanted)
        let difference = taken.difference(from: content, span: span, wanted: wanted)
        #expect(difference == nil, "wanted 0x\(String(wanted, radix: 16)), seed \(seed)")
      }
    }
    try source.checkUnchanged()
  }

  @Test("Blocks of a map are read from where the map puts them")
  func mapped() throws {
    let content = SamplePages.image(SeededKinds(count: 200, seed: 331).kinds, seed: 331)
    let json = """
      { "blocks": [
        { "name": "high", "guestPhysicalBase": "0x100000000", "fileOffset": "280KiB", "size": "400KiB" },
        { "name": "low",  "guestPhysicalBase": 0,             "fileOffset": "4KiB",   "size": "276KiB" } ] }
      """
    let map = try MemoryMap(path: try directory.write(Array(json.utf8), to: "map.json"))
    let source = try ImageSource(path: try directory.write(content, to: "image"), map: map)
    #expect(source.blocks == map.blocks)
    for (index, pages) in [70..<170, 1..<70].enumerated() {
      let block = source.blocks.blocks[index]
      let part = Array(content[pages.lowerBound * pageByteCount..<pages.upperBound * pageByteCount])
      for span in 0..<block.spanCount {
        let wanted = block.pages(ofSpan: span)
        let taken = try Taken(source, block: index, span: span, wanted: wanted)
        let difference = taken.difference(from: part, span: span, wanted: wanted)
        #expect(difference == nil, "block '\(block.name)', seed 331")
      }
    }
  }

  @Test("Nothing is written past the wanted pages")
  func staysInStaging() throws {
    let content = SamplePages.image(Array(repeating: .random, count: 64), seed: 341)
    let source = try ImageSource(path: try directory.write(content, to: "image"))
    var staging = [UInt8](repeating: 0xa5, count: spanByteCount)
    let result = try withMutableSpan(&staging) { try source.snapshot(block: 0, span: 0, wanted: 0b1011, into: &$0) }
    #expect(result.copiedPageCount == 3)
    #expect(staging[(3 * pageByteCount)...].allSatisfy { $0 == 0xa5 })
  }
}

/// Kinds of pages that change every few pages.
struct SeededKinds {
  var kinds: [PageKind] = []

  init(count: Int, seed: UInt64) {
    var generator = SeededGenerator(seed: seed &+ 1000)
    while kinds.count < count {
      let kind = [PageKind.zero, .zero, .random, .text, .singleByte].randomElement(using: &generator) ?? .zero
      kinds += Array(repeating: kind, count: Int.random(in: 1...6, using: &generator))
    }
    kinds = Array(kinds.prefix(count))
  }
}
