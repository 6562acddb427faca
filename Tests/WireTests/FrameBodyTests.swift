// SPDX-License-Identifier: Apache-2.0
import PageKernels
import PageModel
import TestSupport
import Testing
import Wire

@Suite("Frame bodies")
struct FrameBodyTests {
  @Test("a frame put together by hand gives its records, its counts and its data")
  func byHand() throws {
    let pages = SamplePages.image([.random, .text, .random], seed: 1)
    let records = [
      Fixture.record(index: 0, 0b1100, 0b0011), Fixture.record(kind: 1, index: 1, 2),
      Fixture.record(block: 2, index: 0, 0, 1),
    ]
    let body = try Fixture.decodeFrame(Fixture.frame(records, payload: pages), try Fixture.table())
    #expect(
      body.records == [
        .span(block: 0, index: 0, zero: 0b1100, data: 0b0011, delta: 0), .zeroRun(block: 0, index: 1, count: 2),
        .span(block: 2, index: 0, zero: 0, data: 1, delta: 0),
      ])
    // The run's second span is the block's last and has two pages.
    #expect(body.zeroPageCount == 2 + 64 + 2)
    #expect(body.dataPageCount == 3)
    #expect(body.data == 96..<96 + 3 * 4096)
    #expect(body.delta == body.data.upperBound..<body.data.upperBound)
  }

  @Test("an encoded payload has its own length")
  func encoded() throws {
    let frame = Fixture.frame([Fixture.record(index: 0, 0, 0b111)], payload: [1, 2, 3, 4, 5]) { header in
      header.flags = .dataEncoded
      header.codec = 1
      header.dataDecodedByteCount = 3 * 4096
    }
    let body = try Fixture.decodeFrame(frame, try Fixture.table())
    #expect(body.data == 32..<37)
    #expect(body.dataPageCount == 3)
  }

  @Test("an end-of-iteration mark and a frame of nothing have no records", arguments: [true, false])
  func empty(isMark: Bool) throws {
    let header = Fixture.header(isMark ? .endOfIteration : .pages)
    let body = try Fixture.decodeFrame(Fixture.encode(header), try Fixture.table())
    #expect(body.records.isEmpty)
    #expect(body.zeroPageCount == 0 && body.dataPageCount == 0 && body.data.isEmpty)
  }

  @Test("a lane that moves names its channel, where that was agreed on, and says nothing else")
  func laneMoved() throws {
    var header = Fixture.header(.laneMoved)
    header.channel = 0xabcd
    let bytes = Fixture.encode(header)
    #expect(Array(bytes[40..<48]) == [0, 0, 0xcd, 0xab, 0, 0, 0, 0])
    #expect(try Fixture.decodeHeader(bytes) == header)
    #expect(try Fixture.decodeFrame(bytes, try Fixture.table(), features: .lanesMove).records.isEmpty)
    #expect(throws: WireError.unknownFrameType(3)) {
      try Fixture.decodeFrame(bytes, try Fixture.table(), features: [.deltas, .runningGuest])
    }
    header.recordCount = 1
    #expect(throws: WireError.lengthMismatch(what: "a lane-moved frame's body", found: 32, expected: 0)) {
      try Fixture.decodeHeader(Fixture.encode(header))
    }
    // In other frames these bytes are reserved: receivers do not look.
    for type in [FrameType.pages, .endOfIteration] {
      var other = Fixture.header(type)
      other.channel = 7
      #expect(try Fixture.decodeHeader(Fixture.encode(other)) == Fixture.header(type))
    }
  }

  @Test("the most records, and then the most pages")
  func most() throws {
    let table = try Fixture.table()
    var records = (0..<126).map { _ in Fixture.record(index: 1, .max) }
    #expect(try Fixture.decodeFrame(Fixture.frame(records), table).zeroPageCount == 126 * 64)
    records = (0..<3).map { Fixture.record(block: $0 == 2 ? 1 : 0, index: $0 % 2, 0, .max) }
    let payload = [UInt8](repeating: 1, count: 192 * 4096)
    #expect(try Fixture.decodeFrame(Fixture.frame(records, payload: payload), table).dataPageCount == 192)
  }

  @Test("nothing of the frame before is left over")
  func reused() throws {
    let table = try Fixture.table()
    var body = FrameBody()
    let first = Fixture.frame(
      [Fixture.record(0b1), Fixture.record(0, 0b1)], payload: [UInt8](repeating: 3, count: 4096))
    try Fixture.decodeFrame(first, table, into: &body)
    #expect(body.records.count == 2)
    try Fixture.decodeFrame(Fixture.frame([Fixture.record(0b111)]), table, into: &body)
    #expect(body.records == [.span(block: 0, index: 0, zero: 0b111, data: 0, delta: 0)])
    #expect(body.zeroPageCount == 3 && body.dataPageCount == 0)
    #expect(body.data == 32..<32)
  }

  // MARK: Refused

  @Test("a body of another length than the header says", arguments: [-32, -1, 1, 32])
  func length(difference: Int) throws {
    let table = try Fixture.table()
    let whole = Fixture.frame([Fixture.record(0b1), Fixture.record(0b10)])
    let bytes = Array((whole + [UInt8](repeating: 0, count: 32)).prefix(whole.count + difference))
    let error = WireError.lengthMismatch(what: "a frame's body", found: 64 + difference, expected: 64)
    #expect(throws: error) { try Fixture.decodeFrame(bytes, table) }
  }

  @Test("a body with one bit changed")
  func corrupt() throws {
    let table = try Fixture.table()
    let whole = Fixture.frame([Fixture.record(0b1)])
    for bit in 64 * 8..<whole.count * 8 {
      var bytes = whole
      bytes[bit / 8] ^= 1 << UInt8(bit % 8)
      #expect(throws: WireError.bodyCorrupt, "bit \(bit)") { try Fixture.decodeFrame(bytes, table) }
    }
  }

  @Test("data for more or fewer pages than the records name", arguments: [0, 1, 3, 192])
  func dataPages(count: Int) throws {
    let table = try Fixture.table()
    let payload = [UInt8](repeating: 1, count: count * 4096)
    let error = WireError.lengthMismatch(what: "a frame's decoded data", found: count * 4096, expected: 2 * 4096)
    #expect(throws: error) {
      try Fixture.decodeFrame(Fixture.frame([Fixture.record(0, 0b11)], payload: payload), table)
    }
  }

  @Test("data that is no whole number of pages")
  func partOfAPage() throws {
    let table = try Fixture.table()
    let frame = Fixture.frame([Fixture.record(0, 0b1)], payload: [UInt8](repeating: 1, count: 4095))
    #expect(throws: WireError.lengthMismatch(what: "a frame's decoded data", found: 4095, expected: 4096)) {
      try Fixture.decodeFrame(frame, table)
    }
  }

  @Test("a record that is wrong, wherever it is in the frame", arguments: 0..<3)
  func badRecord(position: Int) throws {
    let table = try Fixture.table()
    var records = (0..<3).map { _ in Fixture.record(0b1) }
    records[position] = Fixture.record(0b1, 0b1)
    #expect(throws: WireError.masksOverlap(block: 0, span: 0)) {
      try Fixture.decodeFrame(Fixture.frame(records), table)
    }
  }

  @Test("deltas that the session has not agreed on")
  func deltas() throws {
    let table = try Fixture.table()
    let record = Fixture.frame([Fixture.record(0, 0, 0b1)])
    #expect(throws: WireError.deltaNotNegotiated) { try Fixture.decodeFrame(record, table) }
    let payload = Fixture.frame([Fixture.record(0b1)], payload: [1, 2, 3]) { header in
      (header.dataByteCount, header.dataDecodedByteCount) = (0, 0)
      (header.deltaByteCount, header.deltaDecodedByteCount) = (3, 3)
    }
    #expect(throws: WireError.deltaNotNegotiated) { try Fixture.decodeFrame(payload, table) }
  }

  @Test("delta pages without a delta part, and a part without pages")
  func deltaPart() throws {
    let table = try Fixture.table()
    let pages = Fixture.frame([Fixture.record(0, 0, 0b11)])
    #expect(throws: WireError.lengthMismatch(what: "a frame's decoded deltas", found: 0, expected: 6)) {
      try Fixture.decodeFrame(pages, table, features: .deltas)
    }
    let part = Fixture.frame([Fixture.record(0b1)], payload: [1, 2, 3]) { header in
      (header.dataByteCount, header.dataDecodedByteCount) = (0, 0)
      (header.deltaByteCount, header.deltaDecodedByteCount) = (3, 3)
    }
    #expect(throws: WireError.lengthMismatch(what: "a frame's decoded deltas", found: 3, expected: 0)) {
      try Fixture.decodeFrame(part, table, features: .deltas)
    }
    let whole = Fixture.frame([Fixture.record(0, 0, 0b1)], payload: [1, 0, 9]) { header in
      (header.dataByteCount, header.dataDecodedByteCount) = (0, 0)
      (header.deltaByteCount, header.deltaDecodedByteCount) = (3, 3)
    }
    let body = try Fixture.decodeFrame(whole, table, features: .deltas)
    #expect(body.deltaPageCount == 1 && body.delta.count == 3)
  }

  @Test("strangers are shown as text if they are text, and as numbers if not")
  func strangerDescription() {
    let text = WireError.foreignMagic(found: Array("GET / HT".utf8)).description
    #expect(text.hasSuffix("(it began with 'GET / HT')"))
    let binary = WireError.foreignMagic(found: [0x16, 3, 1, 0, 0x1b, 0x5b, 0x32, 0x4a]).description
    #expect(binary.hasSuffix("(it began with 16 03 01 00 1b 5b 32 4a)"))
  }
}
