// SPDX-License-Identifier: Apache-2.0
import PageModel
import TestSupport
import Testing
import Wire

@Suite("The examples in docs/WIRE.md")
struct DocumentTests {
  @Test("the frame is what the document says")
  func frame() throws {
    let bytes = try Self.example("frame")
    let table = try BlockTable([
      RAMBlock(name: "pc.ram", guestPhysicalBase: 0, byteCount: 130 * 4096),
      RAMBlock(name: "vga.vram", guestPhysicalBase: 0xfd00_0000, byteCount: 1 << 20),
    ])
    let header = try Fixture.decodeHeader(bytes)
    #expect(header.type == .pages && header.codec == 0 && header.flags.isEmpty)
    #expect(header.sequence == 5 && header.iteration == 1 && header.lane == 1)
    #expect(header.bodyByteCount == 64)
    let body = try Fixture.decodeFrame(bytes, table)
    #expect(
      body.records == [
        .span(block: 0, index: 2, zero: 0b11, data: 0, delta: 0), .zeroRun(block: 1, index: 0, count: 4),
      ])
    #expect(body.zeroPageCount == 258 && body.dataPageCount == 0)
    // It is what this sender writes, byte for byte.
    #expect(Fixture.encode(header) + body.records.flatMap(Fixture.encode) == bytes)
  }

  @Test("the control message is what the document says")
  func control() throws {
    let bytes = try Self.example("control")
    let message = try Fixture.decodeMessage(bytes)
    let token = SessionIdentity(high: 0x0123_4567_89ab_cdef, low: 0xfedc_ba98_7654_3210)
    #expect(message == .attach(.init(version: 1, token: token, channel: 1)))
    #expect(message.encoded() == bytes)
  }

  @Test("the limits are those of the code")
  func limits() throws {
    let document = try Self.document()
    let limits: [(String, Int)] = [
      ("frameByteCountMax", WireLimits.frameByteCountMax), ("framePageCountMax", WireLimits.framePageCountMax),
      ("frameRecordCountMax", WireLimits.frameRecordCountMax),
      ("controlByteCountMax", WireLimits.controlByteCountMax), ("textByteCountMax", WireLimits.textByteCountMax),
      ("channelCountMax", WireLimits.channelCountMax), ("laneCountMax", WireLimits.laneCountMax),
      ("guestStateByteCountMax", WireLimits.guestStateByteCountMax), ("blockCountMax", BlockTable.blockCountMax),
      ("nameByteCountMax", BlockTable.nameByteCountMax), ("totalByteCountMax", Int(BlockTable.totalByteCountMax)),
    ]
    let rows = document.split(separator: "\n").filter { $0.hasPrefix("|") }
    for (name, value) in limits {
      let row = rows.first { $0.contains("\(name)`") }
      let cells = row?.split(separator: "|").map { $0.filter { $0 != " " } } ?? []
      #expect(cells.count >= 2 && cells[1] == "\(value)", "the row of \(name)")
    }
  }

  private static func document() throws -> String {
    String(decoding: try TemporaryDirectory.read("\(Corpus.repository)/docs/WIRE.md"), as: UTF8.self)
  }

  /// The bytes of the block that opens with "```hex NAME".
  private static func example(_ name: String) throws -> [UInt8] {
    let lines = try document().split(separator: "\n", omittingEmptySubsequences: false)
    let start = try #require(lines.firstIndex(of: "```hex \(name)"))
    let block = lines[(start + 1)...].prefix { $0 != "```" }
    return try block.flatMap { $0.split(separator: " ") }.map { try #require(UInt8($0, radix: 16)) }
  }
}
