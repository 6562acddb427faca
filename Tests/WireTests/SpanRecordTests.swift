// SPDX-License-Identifier: Apache-2.0
import PageModel
import TestSupport
import Testing
import Wire

@Suite("Span records")
struct SpanRecordTests {
  @Test("a record comes back as it was sent", arguments: 0..<300 as Range<UInt64>)
  func roundTrip(seed: UInt64) throws {
    let table = try Fixture.table()
    let record = Self.randomRecord(seed: seed, table)
    let decoded = try Fixture.decodeRecord(Fixture.encode(record), table)
    #expect(decoded == record, "seed \(seed)")
  }

  @Test("fields are where docs/WIRE.md says")
  func layout() {
    let span = SpanRecord.span(block: 2, index: 3, zero: 4, data: 8, delta: 16)
    #expect(Fixture.encode(span) == Fixture.record(block: 2, kind: 0, index: 3, 4, 8, 16))
    let run = SpanRecord.zeroRun(block: 2, index: 3, count: 9)
    #expect(Fixture.encode(run) == Fixture.record(block: 2, kind: 1, index: 3, 9))
  }

  @Test("a run may end at the end of its block", arguments: 0..<3)
  func runToTheEnd(index: Int) throws {
    let record = try Fixture.decodeRecord(
      Fixture.record(kind: 1, index: index, UInt64(3 - index)), try Fixture.table())
    #expect(record == .zeroRun(block: 0, index: index, count: 3 - index))
  }

  @Test("the partial last span has its pages and no more", arguments: 0..<64)
  func lastSpan(page: Int) throws {
    let table = try Fixture.table()
    let expected = WireError.pageOutsideBlock(block: 0, span: 2)
    for word in 0..<3 {
      var words: [UInt64] = [0, 0, 0]
      words[word] = 1 << UInt64(page)
      let bytes = Fixture.record(index: 2, words[0], words[1], words[2])
      if page < 2 {
        let record = try Fixture.decodeRecord(bytes, table)
        #expect(record == .span(block: 0, index: 2, zero: words[0], data: words[1], delta: words[2]))
      } else {
        #expect(throws: expected, "word \(word)") { try Fixture.decodeRecord(bytes, table) }
      }
    }
  }

  // MARK: Refused

  @Test("a record that ends too early", arguments: 0..<32)
  func truncated(length: Int) throws {
    let table = try Fixture.table()
    let bytes = Array(Fixture.record(0b1).prefix(length))
    #expect(throws: WireError.truncated(what: "a span record")) { try Fixture.decodeRecord(bytes, table) }
  }

  @Test("an unknown kind", arguments: [2, 3, 255] as [UInt8])
  func kind(found: UInt8) throws {
    let table = try Fixture.table()
    #expect(throws: WireError.badValue(what: "a record's kind", found: UInt64(found))) {
      try Fixture.decodeRecord(Fixture.record(kind: found), table)
    }
  }

  @Test("a block that is not in the table", arguments: [0, 1] as [UInt8], [3, 4, 65535])
  func block(kind: UInt8, found: Int) throws {
    let table = try Fixture.table()
    #expect(throws: WireError.blockUnknown(found: found, blockCount: 3)) {
      try Fixture.decodeRecord(Fixture.record(block: found, kind: kind, 1), table)
    }
  }

  @Test("a span past the end of its block", arguments: [0, 1] as [UInt8], [(0, 3), (1, 1), (2, 1), (0, 0xffff_ffff)])
  func span(kind: UInt8, place: (block: Int, index: Int)) throws {
    let table = try Fixture.table()
    let count = table.blocks[place.block].spanCount
    #expect(throws: WireError.spanOutsideBlock(block: place.block, span: place.index, spanCount: count)) {
      try Fixture.decodeRecord(Fixture.record(block: place.block, kind: kind, index: place.index, 1), table)
    }
  }

  @Test("a page in two classes, or in all three", arguments: [(1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1)])
  func overlap(masks: (UInt64, UInt64, UInt64)) throws {
    let table = try Fixture.table()
    for page in 0..<64 as Range<UInt64> {
      let bytes = Fixture.record(index: 1, masks.0 << page, masks.1 << page, masks.2 << page)
      #expect(throws: WireError.masksOverlap(block: 0, span: 1), "page \(page)") {
        try Fixture.decodeRecord(bytes, table)
      }
    }
  }

  @Test("a zero run of no span, or past the end of its block", arguments: [(0, 0), (0, 4), (1, 3), (2, 2), (2, .max)])
  func run(place: (index: Int, count: UInt64)) throws {
    let table = try Fixture.table()
    let error = WireError.spanOutsideBlock(block: 0, span: Int(clamping: place.count), spanCount: 3)
    #expect(throws: error) { try Fixture.decodeRecord(Fixture.record(kind: 1, index: place.index, place.count), table) }
  }

  @Test("a zero run with something in its unused words", arguments: [(1, 0), (0, 1), (5, 9)] as [(UInt64, UInt64)])
  func unusedWords(words: (UInt64, UInt64)) throws {
    let table = try Fixture.table()
    #expect(throws: WireError.badValue(what: "a zero run's unused words", found: words.0 != 0 ? words.0 : words.1)) {
      try Fixture.decodeRecord(Fixture.record(kind: 1, 1, words.0, words.1), table)
    }
  }

  // MARK: Inputs

  /// Any record that the blocks allow.
  static func randomRecord(seed: UInt64, _ table: BlockTable) -> SpanRecord {
    var random = SeededGenerator(seed: seed)
    let block = Int.random(in: table.blocks.indices, using: &random)
    let spans = table.blocks[block].spanCount
    let index = Int.random(in: 0..<spans, using: &random)
    if Bool.random(using: &random) {
      return .zeroRun(block: block, index: index, count: Int.random(in: 1...spans - index, using: &random))
    }
    let pages = table.blocks[block].pages(ofSpan: index)
    let zero = random.next() & pages
    let data = random.next() & pages & ~zero
    return .span(block: block, index: index, zero: zero, data: data, delta: random.next() & pages & ~zero & ~data)
  }
}
