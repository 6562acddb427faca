// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

@testable import QEMUBridge

@Suite("A stream that cannot be parsed on") struct OpaqueTests {
  private static let filler = (0..<50_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }

  /// What cannot be parsed, and why. Placed at a boundary between sections.
  private static let atBoundary: [([UInt8], OpaqueCause)] = [
    (Bytes().be(UInt8(4)).be(UInt32(3)).text("cpu").be(UInt32(0)).be(UInt32(12)).bytes, .device("cpu")),
    (
      Bytes().be(UInt8(1)).be(UInt32(3)).text("dirty-bitmap").be(UInt32(0)).be(UInt32(1)).bytes,
      .section("dirty-bitmap", version: 1)
    ),
    (Bytes().be(UInt8(1)).be(UInt32(9)).text("ram").be(UInt32(0)).be(UInt32(4)).bytes, .section("ram", version: 4)),
    (Bytes().be(UInt8(2)).be(UInt32(99)).bytes, .unknownSection(id: 99)),
    (Bytes().be(UInt8(0x55)).bytes, .unknownElement(0x55)),
    (Bytes().be(UInt8(8)).be(UInt16(12)).be(UInt16(0)).bytes, .unknownCommand(12)),
    (Bytes().be(UInt8(8)).be(UInt16(0)).be(UInt16(0)).bytes, .unknownCommand(0)),
  ]

  private func check(_ bytes: [UInt8], from offset: Int, _ cause: OpaqueCause) throws {
    for longest in [1, 100, 1 << 20] {
      var reader = try StreamReader(RaggedSource(bytes, seed: 3, longest: longest))
      var tail: [UInt8] = []
      var first: UInt64?
      while let element = try reader.next() {
        guard case .opaque = element.kind else {
          #expect(first == nil, "nothing is parsed once it is opaque")
          continue
        }
        first = first ?? element.offset
        reader.withElement { part in unsafe part.withUnsafeBytes { unsafe tail += $0 } }
      }
      #expect(first == UInt64(offset))
      let found = reader.opaqueCause
      #expect(found == cause && found?.description.isEmpty == false)
      #expect(tail == Array(bytes[offset...]), "reads of at most \(longest) bytes")
    }
  }

  @Test("At a boundary: every byte from there on is handed over", arguments: 0..<7)
  func boundary(index: Int) throws {
    let (strange, cause) = Self.atBoundary[index]
    let model = ModelStream(Shape(name: "plain", hasTail: false), seed: 1, passCount: 1)
    let end = model.elements.last { $0.kind == .section(.end, id: ModelStream.sectionID) }
    let at = Int(try #require(end).offset)
    try check(Array(model.bytes[..<at]) + strange + Self.filler, from: at, cause)
  }

  @Test("Inside a section: from the record on that is not known", arguments: [0x1, 0x80, 0x18, 0x210, 0x2a, 0x30])
  func record(flags: Int) throws {
    let model = ModelStream(Shape(name: "plain", hasTail: false), seed: 2, passCount: 1)
    let end = model.elements.last { $0.kind == .endOfRecords }
    let at = Int(try #require(end).offset)
    let bytes = Array(model.bytes[..<at]) + Bytes().be(UInt64(flags)).bytes + Self.filler
    try check(bytes, from: at, .unknownRecord(flags: UInt64(flags)))
  }

  @Test("A bit of the offset that is no offset's")
  func oddOffset() throws {
    let model = ModelStream(Shape(name: "plain", hasTail: false), seed: 2, passCount: 1)
    let end = model.elements.last { $0.kind == .endOfRecords }
    let at = Int(try #require(end).offset)
    let bytes = Array(model.bytes[..<at]) + Bytes().be(UInt64(0x408)).bytes + Self.filler
    try check(bytes, from: at, .unknownRecord(flags: 0x408))
  }

  @Test("In the configuration: none of it is lost")
  func subsection() throws {
    let head = Bytes().be(UInt32(0x5145_564d)).be(UInt32(3)).bytes
    let strange = Bytes().be(UInt8(7)).be(UInt32(2)).raw([112, 99]).be(UInt8(5)).text("configuration/new").be(UInt32(1))
    try check(head + strange.bytes + Self.filler, from: 8, .unknownSubsection("configuration/new"))
  }

  @Test("A format for files")
  func mappedRAM() throws {
    let head = Bytes().be(UInt32(0x5145_564d)).be(UInt32(3)).be(UInt8(7)).be(UInt32(2)).raw([112, 99]).be(UInt8(5))
      .text("configuration/capabilities").be(UInt32(1)).be(UInt32(1)).text("mapped-ram").be(UInt8(1)).be(UInt32(2))
      .text("ram").be(UInt32(0)).be(UInt32(4)).bytes
    let list = Bytes().be(UInt64(0x1004)).text("pc.ram").be(UInt64(0x1000)).bytes
    try check(head + list + Self.filler, from: head.count, .capability("mapped-ram"))
  }

  @Test("The end of the state comes by itself; a description follows it")
  func endOfState() throws {
    let model = ModelStream(Shape(name: "plain", hasTail: false), seed: 4, passCount: 1)
    try check(model.bytes + [0] + Self.filler, from: model.bytes.count + 1, .afterState)
    let (elements, error) = Seen.read(MemorySource(model.bytes + [0]))
    #expect(error == nil && elements.last?.kind == .endOfState)
  }
}
