// SPDX-License-Identifier: Apache-2.0
import Glibc
import SystemPackage
import TestSupport
import Testing
import Transport

@testable import QEMUBridge

/// Collects what is written, and can refuse it.
final class CollectingSink: ByteSink {
  private(set) var bytes: [UInt8] = []
  private let folder = TemporaryDirectory()
  private let limit: Int

  init(limit: Int = .max) { self.limit = limit }

  func write(_ parts: IOVector) throws(TransportError) {
    guard bytes.count < limit else { throw .closedByPeer }
    // By way of a file: a vector's parts go nowhere but to descriptors.
    do {
      let file = try FileDescriptor.open(
        FilePath(folder.file("parts")), .readWrite, options: [.create, .truncate], permissions: .ownerReadWrite)
      defer { try? file.close() }
      var sink = DescriptorSink(file)
      try sink.write(parts)
      bytes += try TemporaryDirectory.read(folder.file("parts"))
    } catch { throw .failed((error as? Errno) ?? .ioError) }
  }
}

@Suite("Writing a migration stream") struct StreamWriterTests {
  @Test("Written anew it is a stream of the same RAM, and the rest is the same to the byte", arguments: Shape.all)
  func roundTrip(shape: Shape) throws {
    let model = ModelStream(shape, seed: 30, passCount: 2)
    let sink = CollectingSink()
    _ = try RAMTests.inspect(model, sink: sink)
    let (elements, error) = Seen.read(MemorySource(sink.bytes))
    #expect(error == nil)
    // The generator names blocks where it need not.
    #expect(sink.bytes.count <= model.bytes.count)
    #expect(elements.map(Self.content) == model.elements.map(Self.content))
    #expect(RAMTests.ram(try RAMTests.inspect(model, sink.bytes)) == model.ram)
  }

  /// What an element means, whether or not it names its block.
  private static func content(_ seen: Seen) -> [UInt8] {
    guard case .page(let record) = seen.kind else { return seen.bytes }
    return Bytes().be(record.encoding.rawValue).be(UInt32(record.block)).be(record.offset)
      .raw(Array(seen.bytes[record.payload])).bytes
  }

  @Test("A record continues exactly where the one before it was of its block")
  func continues() throws {
    let model = ModelStream(Shape(name: "plain"), seed: 31)
    let sink = CollectingSink()
    _ = try RAMTests.inspect(model, sink: sink)
    var last: Int?
    for seen in Seen.read(MemorySource(sink.bytes)).elements {
      guard case .page(let record) = seen.kind else { continue }
      #expect(record.isContinued == (record.block == last))
      last = record.block
    }
  }

  @Test(
    "Pages in any order, the last version of each once, copied or in place: the RAM is the same",
    arguments: [true, false])
  func reordered(inPlace: Bool) throws {
    let model = ModelStream(Shape(name: "plain", pageBits: inPlace ? 12 : 10), seed: 32)
    var generator = SeededGenerator(seed: 33)
    let sink = CollectingSink()
    var writer = try StreamWriter(sink)
    writer.declare(model.blocks, pageByteCount: model.page)
    let list = try #require(model.elements.firstIndex { $0.kind == .blockList })
    // Up to and with the footer of the first section.
    let head = model.elements[...(list + 2)].flatMap { $0.bytes }
    try head.withRawSpan { (bytes) throws(TransportError) in try writer.verbatim(bytes) }
    try writer.section(.end, id: ModelStream.sectionID)
    var pages: [(Int, Int)] = []
    for (block, bytes) in model.ram.enumerated() {
      for page in 0..<bytes.count / model.page { pages.append((block, page * model.page)) }
    }
    pages.shuffle(using: &generator)
    // In place they stay as they are until the flush.
    let content = pages.map { Array(model.ram[$0.0][$0.1..<$0.1 + model.page]) }
    let flat = content.flatMap { $0 }
    try unsafe flat.withUnsafeBytes { all in
      for (index, (block, offset)) in pages.enumerated() {
        if content[index].allSatisfy({ $0 == 0 }) {
          try writer.zero(block: block, offset: UInt64(offset))
        } else if inPlace {
          let range = index * model.page..<(index + 1) * model.page
          unsafe try writer.page(
            block: block, offset: UInt64(offset), inPlace: UnsafeRawBufferPointer(rebasing: all[range]))
        } else {
          try content[index].withRawSpan { (page) throws(TransportError) in
            try writer.page(block: block, offset: UInt64(offset), page)
          }
        }
      }
      try writer.endOfRecords()
      try writer.footer(id: ModelStream.sectionID)
      try writer.flush()
    }
    let count = writer.byteCount
    #expect(count == sink.bytes.count)
    #expect(RAMTests.ram(try RAMTests.inspect(model, sink.bytes)) == model.ram)
  }

  @Test("Many pages in place and in between other bytes: more than a vector has parts")
  func manyParts() throws {
    let sink = CollectingSink()
    var writer = try StreamWriter(sink)
    writer.declare([StreamBlock(nameBytes: [97], byteCount: 1 << 30)], pageByteCount: 1024)
    let page = (0..<1024).map { UInt8(truncatingIfNeeded: $0) }
    var expected: [UInt8] = []
    try unsafe page.withUnsafeBytes { bytes in
      for index in 0..<1500 as Range<UInt64> {
        unsafe try writer.page(block: 0, offset: index << 10, inPlace: bytes)
        expected += index == 0 ? Bytes().be(UInt64(8)).text("a").bytes : Bytes().be(index << 10 | 0x28).bytes
        expected += page
      }
      try writer.zero(block: 0, offset: 1500 << 10, count: 3)
      try writer.flush()
    }
    for index in 1500..<1503 as Range<UInt64> { expected += Bytes().be(index << 10 | 0x22).be(UInt8(0)).bytes }
    #expect(sink.bytes == expected)
  }

  @Test("A header is that of every stream; what is larger than the buffer goes through")
  func large() throws {
    let sink = CollectingSink()
    var writer = try StreamWriter(sink, bufferByteCount: 1)
    try writer.header()
    let bytes = (0..<700_001).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    try bytes.withRawSpan { (bytes) throws(TransportError) in try writer.verbatim(bytes) }
    try writer.flush()
    #expect(sink.bytes == Bytes().be(UInt32(0x5145_564d)).be(UInt32(3)).bytes + bytes)
  }

  @Test("A sink that fails ends it")
  func failure() throws {
    let model = ModelStream(Shape(name: "plain"), seed: 34)
    #expect(throws: InspectionError.output(.closedByPeer)) {
      _ = try RAMTests.inspect(model, sink: CollectingSink(limit: 0))
    }
    let full = unsafe try FileDescriptor.open("/dev/full", .writeOnly)
    defer { try? full.close() }
    #expect(throws: InspectionError.output(.failed(.noSpace))) {
      _ = try RAMTests.inspect(model, sink: DescriptorSink(full))
    }
  }

  @Test("A closed reader's pipe is an error, where SIGPIPE is ignored") func pipe() throws {
    signal(SIGPIPE, SIG_IGN)
    let ends = try FileDescriptor.pipe()
    try ends.readEnd.close()
    defer { try? ends.writeEnd.close() }
    let model = ModelStream(Shape(name: "plain"), seed: 35)
    #expect(throws: InspectionError.output(.failed(.brokenPipe))) {
      _ = try RAMTests.inspect(model, sink: DescriptorSink(ends.writeEnd))
    }
  }
}
