// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import Migration
import PageCodecs
import PageModel
import TestSupport
import Testing
import Transport

@Suite struct StillImageTests {
  enum Content: CaseIterable {
    case onePage, allZero, random, mixed, partialSpan, sparse
  }

  /// The bytes of an image; for `sparse`, holes are made from them.
  static func bytes(_ content: Content) -> [UInt8] {
    switch content {
    case .onePage: SamplePages.image([.text], seed: 1)
    case .allZero: [UInt8](repeating: 0, count: 300 * 4096)
    case .random: SamplePages.image(Array(repeating: .random, count: 200), seed: 2)
    case .mixed: SamplePages.mixedImage(pageCount: 2048, seed: 3)
    case .partialSpan: SamplePages.mixedImage(pageCount: 64 * 9 + 17, seed: 4)
    case .sparse: SamplePages.mixedImage(pageCount: 1500, seed: 5)
    }
  }

  @Test(
    "An image arrives byte for byte with every codec and number of channels",
    arguments: ["none", "lz4", "zstd:1", "zstd-long:1", "deflate:1", "auto"], [1, 2, 4, 8])
  func codecsAndChannels(codec: String, channels: Int) throws {
    let bytes = Self.bytes(.partialSpan)
    let harness = try Harness()
    harness.start()
    let report = try harness.source(try harness.image(bytes), codec: codec, channels: channels).run()
    let received = try harness.finish()
    #expect(report.failure?.reason == nil)
    #expect(received.outcome == .completed)
    #expect(try TemporaryDirectory.read(harness.output) == bytes)
    #expect(!TemporaryDirectory.exists(harness.partial))
    #expect(report.pages.zero + report.pages.data + report.pages.notRead == UInt64(bytes.count / 4096))
    #expect(report.blocks.map { $0.digest } == received.blocks.map { $0.digest })
    #expect(report.bytes.wire == received.bytes.wire, "both sides count the same bytes")
    // Every data page is in one codec's figures, and they add up.
    let uses = report.codec.uses
    #expect(uses.reduce(0) { $0 + $1.pages + $1.bypassedPages } == report.pages.data)
    #expect(uses.allSatisfy { $0.bytesIn == $0.pages * 4096 && $0.bytesOut <= $0.bytesIn + 4096 * $0.frames })
    #expect(codec == "auto" || uses.allSatisfy { $0.codec.hasPrefix(codec) })
  }

  @Test("Every kind of content arrives byte for byte", arguments: Content.allCases)
  func contents(content: Content) throws {
    let bytes = Self.bytes(content)
    let harness = try Harness()
    let source =
      content == .sparse
      ? try ImageSource(path: try harness.folder.writeSparse(bytes, to: "source.raw")) : try harness.image(bytes)
    harness.start()
    let report = try harness.source(source, codec: "lz4").run()
    #expect(try harness.finish().outcome == .completed)
    #expect(report.outcome == .completed)
    #expect(try TemporaryDirectory.read(harness.output) == bytes)
    if content == .sparse { #expect(report.pages.notRead > 0, "holes were read") }
  }

  @Test("Several RAM blocks keep their names, bases and content, and the map is left beside the image")
  func severalBlocks() throws {
    let blocks = [
      RAMBlock(name: "low", guestPhysicalBase: 0, byteCount: 3 << 20),
      RAMBlock(name: "one page", guestPhysicalBase: 1 << 32, byteCount: 4096),
      RAMBlock(name: "odd", guestPhysicalBase: 1 << 33, byteCount: 77 * 4096),
    ]
    let map = try MemoryMap(consecutive: blocks)
    let bytes = SamplePages.mixedImage(pageCount: Int(map.fileByteCount) / 4096, seed: 9)
    let harness = try Harness(expectedBlocks: try BlockTable(blocks))
    harness.start()
    let report = try harness.source(try harness.image(bytes, map: map), codec: "zstd", channels: 3, lanes: 5).run()
    #expect(report.failure?.reason == nil)
    #expect(try harness.finish().outcome == .completed)
    #expect(try TemporaryDirectory.read(harness.output) == bytes)
    #expect(try MemoryMap(path: harness.output + ".map.json") == map)
  }

  @Test("A Unix socket carries a migration as well")
  func unixSocket() throws {
    let folder = TemporaryDirectory()
    let harness = try Harness(endpoint: .unix(path: folder.file("socket")))
    harness.start()
    let bytes = SamplePages.mixedImage(pageCount: 400, seed: 10)
    let report = try harness.source(try harness.image(bytes)).run()
    #expect(report.failure?.reason == nil)
    #expect(try harness.finish().outcome == .completed)
    #expect(try TemporaryDirectory.read(harness.output) == bytes)
    withExtendedLifetime(folder) {}
  }

  @Test("A bandwidth limit is kept")
  func bandwidth() throws {
    let bytes = SamplePages.image(Array(repeating: .random, count: 1024), seed: 12)
    let harness = try Harness()
    harness.start()
    let report = try harness.source(try harness.image(bytes), bandwidth: 10_000_000).run()
    #expect(report.failure?.reason == nil)
    #expect(try harness.finish().outcome == .completed)
    // 4.2 MB at 10 MB/s; what one write takes may go ahead of its time.
    #expect(report.seconds.active > 0.25)
  }
}

extension TemporaryDirectory {
  /// Writes `bytes`, leaving pages that are zero as holes.
  func writeSparse(_ bytes: [UInt8], to name: String) throws -> String {
    let map = try MemoryMap(wholeImage: UInt64(bytes.count))
    let destination = try ImageDestination(path: file(name), map: map, options: .init())
    for page in 0..<bytes.count / 4096 {
      let content = Array(bytes[page * 4096..<(page + 1) * 4096])
      guard content.contains(where: { $0 != 0 }) else { continue }
      try content.withRawSpan { (span) throws(GuestMemoryError) in
        try destination.store(span, block: 0, span: page / 64, pages: 1 << PageMask(page % 64))
      }
    }
    try destination.complete()
    return file(name)
  }
}
