// SPDX-License-Identifier: Apache-2.0
import PageKernels
import PageModel
import TestSupport
import Wire

/// Bytes put together by hand, without the code under test: numbers little-endian.
enum Bytes {
  static func u16(_ value: Int) -> [UInt8] { little(UInt64(value), 2) }
  static func u32(_ value: Int) -> [UInt8] { little(UInt64(value), 4) }
  static func u64(_ value: UInt64) -> [UInt8] { little(value, 8) }
  /// A text with its length in front, or with a length that is not its own.
  static func text(_ bytes: [UInt8], length: Int? = nil) -> [UInt8] { u16(length ?? bytes.count) + bytes }

  private static func little(_ value: UInt64, _ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
  }
}

enum Fixture {
  /// 130 pages (two spans and two pages), 64 pages (one span), 1 page.
  static func table() throws -> BlockTable { try BlockTable(WireDrivers.blocks) }

  /// A control message of any type and body, with the right length and checksum.
  static func message(type: Int, body: [UInt8]) -> [UInt8] {
    let checksum = Int(PageHash.checksum(body) & 0xffff_ffff)
    return Array("PFC1".utf8) + Bytes.u16(type) + Bytes.u16(0) + Bytes.u32(body.count) + Bytes.u32(checksum) + body
  }

  /// Decodes header and body, as a receiver does.
  static func decodeMessage(_ bytes: [UInt8]) throws(WireError) -> ControlMessage {
    let header = try ControlHeader(decoding: Array(bytes.prefix(ControlHeader.byteCount)))
    return try ControlMessage(decoding: Array(bytes.dropFirst(ControlHeader.byteCount)), header: header)
  }

  static func encode(_ header: FrameHeader) -> [UInt8] {
    var bytes = [UInt8](repeating: 0xee, count: FrameHeader.byteCount)
    WireDrivers.encode(header, into: &bytes)
    return bytes
  }

  static func encode(_ record: SpanRecord) -> [UInt8] {
    var bytes = [UInt8](repeating: 0xee, count: SpanRecord.byteCount)
    WireDrivers.encode(record, into: &bytes)
    return bytes
  }

  static func decodeHeader(_ bytes: [UInt8]) throws(WireError) -> FrameHeader {
    unsafe try FrameHeader(decoding: bytes.span.bytes)
  }

  static func decodeRecord(_ bytes: [UInt8], _ table: BlockTable) throws(WireError) -> SpanRecord {
    unsafe try SpanRecord(decoding: bytes.span.bytes, blocks: table)
  }

  /// Decodes header and body, as a receiver does.
  static func decodeFrame(
    _ bytes: [UInt8], _ table: BlockTable, features: SessionFeatures = []
  ) throws(WireError) -> FrameBody {
    var body = FrameBody()
    try decodeFrame(bytes, table, features: features, into: &body)
    return body
  }

  static func decodeFrame(
    _ bytes: [UInt8], _ table: BlockTable, features: SessionFeatures = [], into body: inout FrameBody
  ) throws(WireError) {
    let header = try decodeHeader(bytes)
    var rest = Array(bytes.dropFirst(FrameHeader.byteCount))
    // A receiver takes raw pages later, and elsewhere.
    if header.flags.contains(.dataUnsummed) { rest = Array(rest.prefix(header.summedByteCount)) }
    unsafe try body.decode(rest.span.bytes, header: header, blocks: table, features: features)
  }

  /// The header of a frame without records and payload.
  static func header(_ type: FrameType = .pages, flags: FrameFlags = []) -> FrameHeader {
    FrameHeader(type: type, flags: flags, iteration: 1, lane: 0, bodyChecksum: PageHash.checksum([]))
  }

  /// A frame of records and a payload, its header as `change` leaves it.
  static func frame(
    _ records: [[UInt8]], payload: [UInt8] = [], _ change: (inout FrameHeader) -> Void = { _ in }
  ) -> [UInt8] {
    let body = records.flatMap { $0 } + payload
    var header = header()
    header.recordCount = records.count
    header.dataByteCount = payload.count
    header.dataDecodedByteCount = payload.count
    header.bodyChecksum = PageHash.checksum(body)
    change(&header)
    return encode(header) + body
  }

  /// A span record put together by hand.
  static func record(
    block: Int = 0, kind: UInt8 = 0, index: Int = 0, _ first: UInt64 = 0, _ second: UInt64 = 0, _ third: UInt64 = 0
  ) -> [UInt8] {
    Bytes.u16(block) + [kind, 0] + Bytes.u32(index) + Bytes.u64(first) + Bytes.u64(second) + Bytes.u64(third)
  }
}

/// Random messages with every field within the protocol's limits.
struct MessageGenerator {
  private var random: SeededGenerator

  init(seed: UInt64) { random = SeededGenerator(seed: seed) }

  /// One message of every type.
  mutating func messages() -> [ControlMessage] {
    [
      .hello(hello()), .accept(.init(version: word(), token: identity(), software: text(atMost: 1024))),
      .reject(refusal()), .attach(.init(version: word(), token: identity(), channel: word())), .attached, .reserved,
      .iterationBegin(.init(iteration: word(), pageCount: word())),
      .iterationEnd(
        .init(iteration: word(), zeroPageCount: word(), dataPageCount: word(), deltaPageCount: word())),
      .ack(
        .init(completedIteration: word(), appliedFrameCounts: many(0...64) { $0.word() }, receivedByteCount: word())),
      .final(
        .init(
          guestState: many(0...3000) { $0.word() },
          digests: many(0...1024) { ControlMessage.DigestWords(low: $0.word(), high: $0.word()) })),
      .ready(.init(verifyNanoseconds: word(), loadNanoseconds: word())), .commit,
      .resumed(.init(resumeNanoseconds: word())), .cancel(reason: text(atMost: 1024)), .error(refusal()),
      .heartbeat, .relay(.init(afterIteration: word(), bytes: many(0...3000) { $0.word() })),
      .relayTaken(byteCount: word()), .relayEnd(afterIteration: word()),
    ]
  }

  private mutating func hello() -> ControlMessage.Hello {
    let channels = Int.random(in: 1...64, using: &random)
    return ControlMessage.Hello(
      versions: UInt16.random(in: 0...1, using: &random)...UInt16.random(in: 1...UInt16.max, using: &random),
      session: identity(), channelCount: channels, laneCount: Int.random(in: channels...256, using: &random),
      features: SessionFeatures(rawValue: UInt32.random(in: 0...63, using: &random)),
      codecs: many(0...256) { $0.word() }, historyLog: [0, 19, 23, 27].randomElement(using: &random) ?? 0,
      software: text(atMost: 1024),
      blocks: many(0...20) {
        RAMBlock(
          name: $0.text(atMost: 255), guestPhysicalBase: $0.word(), byteCount: $0.word(), hostPageByteCount: $0.word())
      })
  }

  private mutating func refusal() -> ControlMessage.Refusal { .init(code: word(), reason: text(atMost: 1024)) }

  private mutating func identity() -> SessionIdentity { SessionIdentity(high: word(), low: word()) }

  private mutating func word<Value: FixedWidthInteger>() -> Value {
    [.min, .max, .random(in: .min ... .max, using: &random)].randomElement(using: &random) ?? 0
  }

  private mutating func text(atMost limit: Int) -> String {
    let alphabet = ["a", "Z", " ", "\u{0}", "é", "页", "🛳"]
    let wanted = Int.random(in: 0...limit, using: &random)
    var text = ""
    while let next = alphabet.randomElement(using: &random), text.utf8.count + next.utf8.count <= wanted {
      text += next
    }
    return text
  }

  private mutating func many<Value>(
    _ counts: ClosedRange<Int>, _ make: (inout MessageGenerator) -> Value
  ) -> [Value] {
    var list: [Value] = []
    for _ in 0..<Int.random(in: counts, using: &random) { list.append(make(&self)) }
    return list
  }
}
