// SPDX-License-Identifier: Apache-2.0
import PageKernels
import TestSupport
import Testing

@testable import QEMUBridge

@Suite("RAM from a stream") struct RAMTests {
  /// Of a stream and its channels.
  static func inspect(
    _ model: ModelStream, _ bytes: [UInt8]? = nil, limit: UInt64 = 1 << 30, sink: (any ByteSink)? = nil
  ) throws(InspectionError) -> StreamInspector {
    var options = StreamInspector.Options()
    options.ramLimit = limit
    options.sink = sink
    let inspector = StreamInspector(options)
    try inspector.run(MemorySource(bytes ?? model.bytes), channels: model.channels.reversed().map { MemorySource($0) })
    return inspector
  }

  static func ram(_ inspector: StreamInspector) -> [[UInt8]] {
    guard let image = inspector.image else { return [] }
    return image.blocks.indices.map { image.bytes(ofBlock: $0) }
  }

  @Test("It is the guest's, byte for byte", arguments: Shape.all)
  func rebuilt(shape: Shape) throws {
    for seed in 20...21 as ClosedRange<UInt64> {
      let model = ModelStream(shape, seed: seed)
      let inspector = try Self.inspect(model)
      #expect(Self.ram(inspector) == model.ram, "seed \(seed)")
      let summary = inspector.summary
      #expect(summary.byteCount == model.bytes.count && summary.bytes.values.reduce(0, +) == summary.byteCount)
      #expect(summary.ramComplete && summary.error == nil)
      #expect((summary.opaque != nil) == shape.hasTail)
    }
  }

  @Test(
    "Barriers of every channel are met, and its packets counted", arguments: Shape.all.filter { $0.channelCount > 0 })
  func channels(shape: Shape) throws {
    let model = ModelStream(shape, seed: 22)
    let summary = try Self.inspect(model).summary
    #expect(summary.multifd.map { $0.channel } == (0..<shape.channelCount).map { UInt8($0) })
    let barriers = summary.records[shape.flushes ? "MULTIFD_FLUSH" : "EOS"]
    #expect(barriers == 4 && summary.multifd.allSatisfy { $0.barriers == 4 })
    #expect(summary.multifd.reduce(0) { $0 + $1.byteCount } == model.channels.reduce(0) { $0 + UInt64($1.count) })
  }

  @Test("Pages never named, and those named twice, are counted")
  func ledger() throws {
    let model = ModelStream(Shape(name: "plain"), seed: 23)
    let pages = model.elements.compactMap { seen -> [UInt64]? in
      if case .page(let record) = seen.kind { [UInt64(record.block), record.offset] } else { nil }
    }
    let named = Set(pages)
    let summary = try Self.inspect(model).summary
    #expect(summary.pagesSentAgain == UInt64(pages.count - named.count))
    for (index, block) in summary.blocks.enumerated() {
      let count = named.count { $0[0] == UInt64(index) }
      #expect(block.pagesNeverNamed == block.byteCount / 4096 - UInt64(count))
    }
    #expect(summary.passes.count == 3 && summary.passes.reduce(0) { $0 + $1.pages } == UInt64(pages.count))
  }

  private static let start =
    Bytes().be(UInt32(0x5145_564d)).be(UInt32(3)).be(UInt8(1)).be(UInt32(2)).text("ram").be(UInt32(0)).be(UInt32(4))
    .bytes

  @Test("A block of a terabyte takes no memory; pages that hold something take no more than the limit")
  func limit() throws {
    let size = UInt64(1) << 40
    let list = Bytes().be(size | 4).text("a").be(size)
    for index in 0..<4 as Range<UInt64> {
      // Zero pages cost nothing, pages filled with something else do.
      list.be(index << 30 | 2).text("a").be(UInt8(0)).be(index << 31 | 0x22).be(UInt8(7))
    }
    let bytes = Self.start + list.be(UInt64(0x10)).bytes
    func run(_ limit: UInt64) -> InspectionError? {
      var options = StreamInspector.Options()
      options.ramLimit = limit
      let inspector = StreamInspector(options)
      do throws(InspectionError) { try inspector.run(MemorySource(bytes)) } catch { return error }
      return nil
    }
    // The stream is cut; all its pages are there.
    #expect(run(4 * 4096) == .stream(.truncated(offset: UInt64(bytes.count), inside: .footer)))
    #expect(run(4 * 4096 - 1) == .page(.overLimit(limit: 4 * 4096 - 1)))
  }

  @Test("A damaged delta or zlib stream is an error with its place")
  func damaged() throws {
    let list = Bytes().be(UInt64(0x1004)).text("a").be(UInt64(0x1000)).bytes
    let at = UInt64(Self.start.count + list.count)
    func fault(_ record: [UInt8]) -> InspectionError? {
      var options = StreamInspector.Options()
      options.ramLimit = 1 << 20
      let bytes = Self.start + list + record + Bytes().be(UInt64(0x10)).bytes
      do throws(InspectionError) { try StreamInspector(options).run(MemorySource(bytes)) } catch { return error }
      return nil
    }
    let delta = Bytes().be(UInt64(0x40)).text("a").be(UInt8(1)).be(UInt16(2)).raw([1, 200]).bytes
    #expect(fault(delta) == .page(.badPage(position: at, .badDelta(.truncated))))
    let page = (0..<4096).map { UInt8(truncatingIfNeeded: $0) }
    for stored in [true, false] {
      let good = Zlib.stream(page, stored: stored)
      func record(_ stream: [UInt8]) -> [UInt8] {
        Bytes().be(UInt64(0x100)).text("a").be(UInt32(stream.count)).raw(stream).bytes
      }
      guard case .stream(.truncated) = fault(record(good)) else {
        Issue.record("a good page is refused")
        return
      }
      #expect(
        fault(record(good.dropLast() + [good[good.count - 1] ^ 1])) == .page(.badPage(position: at, .badZlibChecksum)))
      #expect(fault(record([0x78, 0x9d] + good[2...])) == .page(.badPage(position: at, .badZlibHeader)))
      #expect(fault(record(Array(good.prefix(6)))) == .page(.badPage(position: at, .badZlibHeader)))
      #expect(fault(record(Array(good.prefix(9)) + good.suffix(4))) == .page(.badPage(position: at, .badZlibStream)))
      let short = Zlib.stream(Array(page.prefix(4095)), stored: stored)
      #expect(fault(record(short)) == .page(.badPage(position: at, .badZlibStream)))
    }
  }

  @Test("Deltas of pages that are not 4 KiB are refused, not guessed")
  func deltaPageSize() throws {
    let decoder = try PageDecoder()
    var page = [UInt8](repeating: 0, count: 1024)
    let fault = [UInt8]([0, 1, 7]).withRawSpan { delta in
      page.withMutableRawSpan { page -> PageFault? in
        do throws(PageFault) { try decoder.apply(delta: delta, to: &page) } catch { return error }
        return nil
      }
    }
    #expect(fault == .deltaPageSize(1024))
  }

  @Test("Files are named after blocks, without what a name should not have, and never twice")
  func names() throws {
    let blocks = ["pc.ram", "/rom@etc/a", "_rom@etc_a", "..", "a\u{1b}b", "ü"].map {
      StreamBlock(nameBytes: Array($0.utf8), byteCount: 4096)
    }
    #expect(
      RAMImageFiles.paths(prefix: "x/y", blocks: blocks) == [
        "x/y.pc.ram.raw", "x/y._rom@etc_a.raw", "x/y._rom@etc_a-2.raw", "x/y....raw", "x/y.a_b.raw", "x/y.__.raw",
      ])
  }

  @Test("Image files hold the blocks; one that exists is left alone, and no partial file stays")
  func files() throws {
    let folder = TemporaryDirectory()
    let model = ModelStream(Shape(name: "plain"), seed: 24)
    let image = try #require(try Self.inspect(model).image)
    let paths = try RAMImageFiles.write(image, prefix: folder.file("g"), replacing: false)
    for (path, bytes) in zip(paths, model.ram) { #expect(try TemporaryDirectory.read(path) == bytes) }
    #expect(throws: (any Error).self) { try RAMImageFiles.write(image, prefix: folder.file("g"), replacing: false) }
    try RAMImageFiles.write(image, prefix: folder.file("g"), replacing: true)
    #expect(paths.allSatisfy { !TemporaryDirectory.exists($0 + ".pageferry-partial") })
  }
}
