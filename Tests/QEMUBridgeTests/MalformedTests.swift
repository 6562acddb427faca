// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

@testable import QEMUBridge

@Suite("A malformed stream") struct MalformedTests {
  private static let header = Bytes().be(UInt32(0x5145_564d)).be(UInt32(3)).bytes
  private static let start = header + Bytes().be(UInt8(1)).be(UInt32(2)).text("ram").be(UInt32(0)).be(UInt32(4)).bytes
  private static let list = Bytes().be(UInt64(0x3004)).text("a").be(UInt64(0x1000)).text("b").be(UInt64(0x2000)).bytes
  private static let page = [UInt8](repeating: 1, count: 4096)

  struct Case: Sendable, CustomTestStringConvertible {
    let name: String
    let bytes: [UInt8]
    let offset: Int
    let fault: StreamFault
    var testDescription: String { name }
  }

  private static func inList(_ name: String, _ bytes: Bytes, _ fault: StreamFault) -> Case {
    Case(name: name, bytes: start + bytes.bytes, offset: start.count, fault: fault)
  }

  private static func inRecord(_ name: String, _ bytes: Bytes, _ fault: StreamFault) -> Case {
    Case(name: name, bytes: start + list + bytes.bytes + page, offset: start.count + list.count, fault: fault)
  }

  private static func atStart(_ name: String, _ bytes: Bytes, _ fault: StreamFault) -> Case {
    Case(name: name, bytes: header + bytes.bytes + page, offset: 8, fault: fault)
  }

  static let cases: [Case] = [
    Case(name: "magic", bytes: page, offset: 0, fault: .foreignMagic(found: 0x0101_0101)),
    Case(
      name: "version", bytes: Bytes().be(UInt32(0x5145_564d)).be(UInt32(2)).bytes, offset: 0,
      fault: .versionUnsupported(found: 2)),
    atStart(
      "machine", Bytes().be(UInt8(7)).be(UInt32.max),
      .tooLong(what: "the machine's name", found: UInt64(UInt32.max), allowed: 4096)),
    atStart(
      "page bits",
      Bytes().be(UInt8(7)).be(UInt32(0)).be(UInt8(5)).text("configuration/target-page-bits").be(UInt32(1))
        .be(UInt32(63)), .badPageBits(found: 63, allowed: 10...16)),
    atStart(
      "capabilities",
      Bytes().be(UInt8(7)).be(UInt32(0)).be(UInt8(5)).text("configuration/capabilities").be(UInt32(1))
        .be(UInt32.max), .tooLong(what: "capabilities", found: UInt64(UInt32.max), allowed: 256)),
    atStart(
      "command", Bytes().be(UInt8(8)).be(UInt16(2)).be(UInt16(5)),
      .badCommandLength(command: 2, found: 5, expected: 4)),
    inList(
      "too much RAM", Bytes().be(UInt64(1) << 60 | 4),
      .tooLong(what: "bytes of RAM", found: 1 << 60, allowed: StreamLimits.totalByteCountMax)),
    inList("no name", Bytes().be(UInt64(0x1004)).be(UInt8(0)), .badBlockName(byteCount: 0)),
    inList(
      "block past the total", Bytes().be(UInt64(0x1004)).text("a").be(UInt64(0x2000)),
      .badBlockLength(block: "a", found: 0x2000, left: 0x1000, pageByteCount: 4096)),
    inList(
      "empty block", Bytes().be(UInt64(0x1004)).text("a").be(UInt64(0)),
      .badBlockLength(block: "a", found: 0, left: 0x1000, pageByteCount: 4096)),
    inList(
      "part of a page", Bytes().be(UInt64(0x1004)).text("a").be(UInt64(0x800)),
      .badBlockLength(block: "a", found: 0x800, left: 0x1000, pageByteCount: 4096)),
    inList(
      "twice", Bytes().be(UInt64(0x2004)).text("a").be(UInt64(0x1000)).text("a").be(UInt64(0x1000)),
      .duplicateBlock("a")),
    inRecord("second list", Bytes().raw(list), .secondBlockList),
    inRecord("unknown block", Bytes().be(UInt64(8)).text("c"), .unknownBlock("c")),
    inRecord("continues nothing", Bytes().be(UInt64(0x28)), .continuesNothing),
    inRecord(
      "outside", Bytes().be(UInt64(0x1008)).text("a"),
      .pageOutsideBlock(block: "a", offset: 0x1000, byteCount: 0x1000)),
    inRecord(
      "far outside", Bytes().be(UInt64.max & ~0xfff | 8).text("b"),
      .pageOutsideBlock(block: "b", offset: UInt64.max & ~0xfff, byteCount: 0x2000)),
    inRecord("delta", Bytes().be(UInt64(0x40)).text("a").be(UInt8(2)).be(UInt16(5)), .badDeltaHeader(found: 2)),
    inRecord(
      "long delta", Bytes().be(UInt64(0x40)).text("a").be(UInt8(1)).be(UInt16(4097)),
      .tooLong(what: "an XBZRLE page", found: 4097, allowed: 4096)),
    inRecord(
      "long compressed page", Bytes().be(UInt64(0x100)).text("a").be(UInt32(4111)),
      .tooLong(what: "a compressed page", found: 4111, allowed: 4110)),
  ]

  @Test("is refused where it is wrong, with what was found and what is allowed", arguments: cases)
  func fault(_ wrong: Case) {
    let error = Seen.read(MemorySource(wrong.bytes)).error
    #expect(error == .malformed(offset: UInt64(wrong.offset), wrong.fault))
    #expect(error?.description.contains("\n") == false && error?.description.isEmpty == false)
  }

  @Test("A footer that is missing or another section's, where the first section had one")
  func footer() throws {
    let model = ModelStream(Shape(name: "plain", hasTail: false), seed: 3, passCount: 1)
    let footer = try #require(model.elements.last)
    var other = model.bytes
    other[other.count - 1] ^= 1
    let fault = StreamError.malformed(offset: footer.offset, .badFooter(section: ModelStream.sectionID))
    #expect(Seen.read(MemorySource(other)).error == fault)
    #expect(Seen.read(MemorySource(model.bytes.dropLast(5) + [4])).error == fault)
  }

  @Test("More blocks than there may be are refused, as many as may be are read")
  func blockCount() {
    func list(_ count: Int) -> [UInt8] {
      let bytes = Bytes().be(UInt64(count) << 12 | 4)
      for index in 0..<count { bytes.text("block-\(index)" + String(repeating: "x", count: 240)).be(UInt64(4096)) }
      return Self.start + bytes.be(UInt64(0x10)).bytes
    }
    #expect(Seen.read(MemorySource(list(1024))).elements.contains { $0.kind == .blockList })
    let error = Seen.read(MemorySource(list(1025))).error
    #expect(
      error == .malformed(offset: UInt64(Self.start.count), .tooLong(what: "RAM blocks", found: 1025, allowed: 1024)))
  }

  @Test("A peer's names do not reach a terminal as they are")
  func printable() {
    #expect(StreamFault.unknownBlock("a\u{1b}[2J").description.contains("\u{1b}") == false)
    #expect(OpaqueCause.device("a\u{7}\n").description.contains("\n") == false)
  }
}
