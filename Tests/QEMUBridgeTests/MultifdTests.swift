// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

@testable import QEMUBridge

@Suite("A multifd channel") struct MultifdTests {
  /// Reads a channel to its end, or to its error.
  private static func read(
    _ source: any ByteSource
  ) -> (elements: [MultifdElement], bytes: [UInt8], error: StreamError?) {
    var elements: [MultifdElement] = []
    var bytes: [UInt8] = []
    do throws(StreamError) {
      var reader = try MultifdReader(source)
      while let element = try reader.next() {
        elements.append(element)
        reader.withElement { part in unsafe part.withUnsafeBytes { unsafe bytes += $0 } }
      }
    } catch { return (elements, bytes, error) }
    return (elements, bytes, nil)
  }

  private static let channel = ModelStream(Shape(name: "", channelCount: 1, flushes: true), seed: 40).channels[0]

  private static func kinds(_ elements: [MultifdElement]) -> [MultifdElement.Kind] { elements.map { $0.kind } }

  @Test("However the bytes come, the packets are the same, and add up to the channel")
  func ragged() {
    let whole = Self.read(MemorySource(Self.channel))
    #expect(whole.error == nil && whole.bytes == Self.channel)
    for longest in [1, 100, 3000] {
      let ragged = Self.read(RaggedSource(Self.channel, seed: 1, longest: longest))
      #expect(Self.kinds(ragged.elements) == Self.kinds(whole.elements) && ragged.error == nil)
    }
  }

  @Test("Every prefix that ends inside something says so; between packets it may end")
  func prefixes() {
    let ends = Set(Self.read(MemorySource(Self.channel)).elements.map { Int($0.offset) + $0.byteCount })
    for length in Array(stride(from: 0, to: Self.channel.count, by: 61)) + ends.sorted() {
      let (_, bytes, error) = Self.read(MemorySource(Array(Self.channel.prefix(length))))
      if ends.contains(length) {
        #expect(error == nil && bytes.count == length)
      } else {
        let part: StreamPart = length < 64 ? .multifdOpening : .multifdPacket
        #expect(error == .truncated(offset: UInt64(length), inside: part))
      }
    }
  }

  @Test("No byte that is changed makes it trap or lose bytes")
  func damage() {
    var generator = SeededGenerator(seed: 41)
    for _ in 0..<200 {
      var bytes = Self.channel
      for _ in 0..<3 {
        bytes[Int.random(in: 0..<3000, using: &generator)] ^= 1 << UInt8.random(in: 0...7, using: &generator)
      }
      let (_, read, error) = Self.read(MemorySource(bytes))
      #expect(read[...] == bytes.prefix(read.count))
      if error == nil { #expect(read.count == bytes.count) }
    }
  }

  /// A packet's head, and what follows it.
  private static func packet(
    flags: UInt32 = 0, allocated: UInt32 = 128, normal: UInt32 = 0, size: UInt32 = 0, zero: UInt32 = 0,
    name: String = "pc.ram", offsets: [UInt64] = [], payload: Int = 0
  ) -> [UInt8] {
    Bytes().be(UInt32(0x1122_3344)).be(UInt32(1)).be(flags).be(allocated).be(normal).be(size).be(UInt64(3)).be(zero)
      .raw([UInt8](repeating: 0, count: 28)).raw(Array(name.utf8) + [UInt8](repeating: 0, count: 256 - name.utf8.count))
      .raw(offsets.flatMap { Bytes().be($0).bytes } + [UInt8](repeating: 0, count: 1024 - 8 * offsets.count))
      .raw([UInt8](repeating: 1, count: payload)).bytes
  }

  private static let opening = Array(channel.prefix(64))

  @Test("A size that was left from the packet before does not count where there are no pages")
  func staleSize() {
    let bytes = Self.opening + Self.packet(flags: 1, size: 8192) + Self.packet(normal: 1, size: 4096, payload: 4096)
    let (elements, _, error) = Self.read(MemorySource(bytes))
    #expect(error == nil && elements.count == 3)
  }

  @Test("Numbers that cannot be are refused")
  func faults() {
    func error(_ packet: [UInt8]) -> StreamError? { Self.read(MemorySource(Self.opening + packet)).error }
    #expect(
      error(Self.packet(allocated: 129))
        == .malformed(offset: 64, .badPageCounts(normal: 0, zero: 0, allocated: 129, allowed: 128)))
    #expect(
      error(Self.packet(normal: 100, zero: 29))
        == .malformed(offset: 64, .badPageCounts(normal: 100, zero: 29, allocated: 128, allowed: 128)))
    #expect(
      error(Self.packet(normal: 1, zero: .max))
        == .malformed(offset: 64, .badPageCounts(normal: 1, zero: .max, allocated: 128, allowed: 128)))
    #expect(
      error(Self.packet(normal: 2, size: 4096, payload: 8192))
        == .malformed(offset: 64, .badPayloadLength(found: 4096, expected: 8192)))
    #expect(
      Self.read(MemorySource([UInt8](repeating: 7, count: 64))).error
        == .malformed(offset: 0, .foreignMagic(found: 0x0707_0707)))
  }

  @Test(
    "Compressed packets and devices' are handed over as they are, to the end",
    arguments: [0x2, 0x5, 0x40, 0x80] as [UInt32])
  func opaque(flags: UInt32) throws {
    let before = Self.opening + Self.packet(flags: 1)
    let bytes = before + Self.packet(flags: flags) + [UInt8](repeating: 9, count: 70_000)
    let (elements, read, error) = Self.read(RaggedSource(bytes, seed: 4, longest: 999))
    #expect(error == nil && read == bytes)
    #expect(elements.first { $0.kind == .opaque }?.offset == UInt64(before.count))
    var reader = try MultifdReader(MemorySource(bytes))
    while try reader.next() != nil {}
    let cause = reader.opaqueCause
    #expect(cause == .multifd(flags: flags))
  }

  @Test("Pages of a block that is not there, outside of it or at odd offsets are refused", arguments: 0..<3)
  func places(which: Int) throws {
    var model = ModelStream(Shape(name: "", channelCount: 1, flushes: true, hasTail: false), seed: 42, passCount: 1)
    let (name, offset): (String, UInt64) = [("nobody", 0), ("pc.ram", 1 << 40), ("pc.ram", 100)][which]
    model.channels = [
      Self.opening + Self.packet(normal: 1, size: 4096, name: name, offsets: [offset], payload: 4096)
    ]
    do throws(InspectionError) {
      _ = try RAMTests.inspect(model)
      Issue.record("it is accepted")
    } catch {
      guard case .channel(0, .malformed(offset: 64, let fault)) = error else {
        Issue.record("\(error)")
        return
      }
      switch which {
      case 0: #expect(fault == .unknownBlock("nobody"))
      case 1:
        #expect(fault == .pageOutsideBlock(block: "pc.ram", offset: 1 << 40, byteCount: model.blocks[0].byteCount))
      default: #expect(fault == .unalignedPage(offset: 100))
      }
    }
  }

  @Test("RAM cannot be had of a channel that is compressed")
  func compressedRAM() throws {
    var model = ModelStream(Shape(name: "", channelCount: 1, flushes: true), seed: 43, passCount: 1)
    model.channels = [Self.opening + Self.packet(flags: 2)]
    #expect(throws: InspectionError.opaqueChannel(.multifd(flags: 2))) { _ = try RAMTests.inspect(model) }
  }
}
