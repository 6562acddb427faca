// SPDX-License-Identifier: Apache-2.0
import PageKernels
import TestSupport
import Testing
import Wire

@Suite("Frame headers")
struct FrameHeaderTests {
  @Test("a header comes back as it was sent", arguments: 0..<300 as Range<UInt64>)
  func roundTrip(seed: UInt64) throws {
    let header = Self.randomHeader(seed: seed)
    let decoded = try Fixture.decodeHeader(Fixture.encode(header))
    #expect(decoded == header, "seed \(seed)")
  }

  @Test("fields are where docs/WIRE.md says, and what is reserved is zero")
  func layout() {
    let header = FrameHeader(
      type: .pages, codec: 2, flags: .dataEncoded, sequence: 0x0807_0605_0403_0201, iteration: 0x1413_1211,
      recordCount: 0x21, dataByteCount: 0x31, dataDecodedByteCount: 0x41, lane: 0x5251,
      bodyChecksum: 0x6867_6665_6463_6261)
    var expected = Array("PFF1".utf8) + [1, 1, 2, 1] + Bytes.u64(0x0807_0605_0403_0201) + Bytes.u32(0x1413_1211)
    expected += Bytes.u32(0x21) + Bytes.u32(0x31) + Bytes.u32(0) + Bytes.u32(0x41) + Bytes.u32(0)
    expected += Bytes.u16(0x5251) + [UInt8](repeating: 0, count: 6)
    expected += Bytes.u64(0x6867_6665_6463_6261) + Bytes.u32(0)
    expected += Bytes.u32(Int(PageHash.checksum(expected) & 0xffff_ffff))
    #expect(Fixture.encode(header) == expected)
  }

  @Test("stamping changes the sequence number and nothing else", arguments: [0, 1, 1 << 32, UInt64.max])
  func stamp(sequence: UInt64) throws {
    var header = Self.randomHeader(seed: sequence)
    var bytes = Fixture.encode(header)
    var span = bytes.mutableSpan
    var raw = unsafe span.mutableBytes
    FrameHeader.stamp(sequence: sequence, into: &raw)
    header.sequence = sequence
    let decoded = try Fixture.decodeHeader(bytes)
    #expect(decoded == header)
  }

  @Test("the largest frame is accepted")
  func largest() throws {
    var header = Fixture.header()
    header.recordCount = WireLimits.frameRecordCountMax
    header.dataByteCount = WireLimits.framePageCountMax * 4096
    header.dataDecodedByteCount = header.dataByteCount
    let decoded = try Fixture.decodeHeader(Fixture.encode(header))
    #expect(decoded.bodyByteCount == 126 * 32 + 192 * 4096)
  }

  // MARK: Refused

  @Test("a header that ends too early", arguments: 0..<64)
  func truncated(length: Int) {
    let bytes = Array(Fixture.encode(Fixture.header()).prefix(length))
    #expect(throws: WireError.truncated(what: "a frame header")) { try Fixture.decodeHeader(bytes) }
  }

  @Test("a header with one bit changed", arguments: 0..<512)
  func corrupt(bit: Int) {
    var bytes = Fixture.encode(Self.randomHeader(seed: 7))
    bytes[bit / 8] ^= 1 << UInt8(bit % 8)
    let expected: WireError = bit < 32 ? .foreignMagic(found: Array(bytes.prefix(8))) : .headerCorrupt
    #expect(throws: expected) { try Fixture.decodeHeader(bytes) }
  }

  @Test("another version", arguments: [0, 2, 255] as [UInt8])
  func version(found: UInt8) {
    let error = WireError.versionUnsupported(found: UInt16(found), supported: 1...1)
    #expect(throws: error) { try Fixture.decodeHeader(Self.header(with: found, at: 4)) }
  }

  @Test("an unknown type", arguments: [0, 4, 255] as [UInt8])
  func type(found: UInt8) {
    #expect(throws: WireError.unknownFrameType(found)) { try Fixture.decodeHeader(Self.header(with: found, at: 5)) }
  }

  @Test("unknown flags", arguments: [4, 9, 10, 16, 0x0c, 0x80, 0xfd] as [UInt8])
  func flags(found: UInt8) {
    #expect(throws: WireError.unknownFlags(UInt32(found))) {
      try Fixture.decodeHeader(Self.header(with: found, at: 7))
    }
  }

  @Test("a length over its limit", arguments: lengthFaults)
  func length(fault: LengthFault) {
    for found in [fault.allowed + 1, 0xffff_ffff] {
      let bytes = Self.header(with: UInt32(found), at: fault.offset)
      #expect(throws: WireError.tooLong(what: fault.what, found: found, allowed: fault.allowed)) {
        try Fixture.decodeHeader(bytes)
      }
    }
  }

  @Test("parts that are allowed one by one and too long together")
  func sum() {
    var header = Fixture.header(flags: [.dataEncoded, .deltaEncoded])
    (header.dataByteCount, header.dataDecodedByteCount) = (1 << 19, 4096)
    (header.deltaByteCount, header.deltaDecodedByteCount) = (1 << 19, 4096)
    let error = WireError.tooLong(what: "a frame", found: (1 << 20) + 64, allowed: 1 << 20)
    #expect(throws: error) { try Fixture.decodeHeader(Fixture.encode(header)) }
  }

  @Test("every length at its largest is refused, not added up")
  func allLargest() {
    var bytes = Fixture.encode(Fixture.header())
    for offset in stride(from: 20, to: 40, by: 4) { WireDrivers.put(UInt32.max, in: &bytes, at: offset) }
    let renewed = WireDrivers.repairedFrame(bytes) ?? []
    #expect(throws: WireError.tooLong(what: "a frame's record count", found: 0xffff_ffff, allowed: 126)) {
      try Fixture.decodeHeader(renewed)
    }
  }

  @Test("a part whose two lengths do not fit together", arguments: [false, true], [(8, 9), (0, 8), (8, 0)])
  func part(isDelta: Bool, lengths: (wire: Int, decoded: Int)) {
    // Raw parts must have one length; encoded ones need not, but nothing cannot become something.
    for isEncoded in lengths.wire == 0 || lengths.decoded == 0 ? [false, true] : [false] {
      var header = Fixture.header(flags: isEncoded ? [.dataEncoded, .deltaEncoded] : [])
      if isDelta {
        (header.deltaByteCount, header.deltaDecodedByteCount) = lengths
      } else {
        (header.dataByteCount, header.dataDecodedByteCount) = lengths
      }
      let what = "a frame's \(isDelta ? "delta" : "data") part"
      #expect(throws: WireError.lengthMismatch(what: what, found: lengths.wire, expected: lengths.decoded)) {
        try Fixture.decodeHeader(Fixture.encode(header))
      }
    }
  }

  @Test("an end-of-iteration mark with records or payload", arguments: [(1, 0), (0, 4096)])
  func markWithBody(sizes: (records: Int, data: Int)) {
    var header = Fixture.header(.endOfIteration)
    header.recordCount = sizes.records
    (header.dataByteCount, header.dataDecodedByteCount) = (sizes.data, sizes.data)
    let what = "an end-of-iteration frame's body"
    #expect(throws: WireError.lengthMismatch(what: what, found: header.bodyByteCount, expected: 0)) {
      try Fixture.decodeHeader(Fixture.encode(header))
    }
  }

  // MARK: Inputs

  /// A header with one field overwritten and its checksum renewed.
  private static func header<Value: FixedWidthInteger>(with value: Value, at offset: Int) -> [UInt8] {
    var bytes = Fixture.encode(Fixture.header())
    WireDrivers.put(value, in: &bytes, at: offset)
    return WireDrivers.repairedFrame(bytes) ?? []
  }

  /// Any header that keeps to the limits.
  private static func randomHeader(seed: UInt64) -> FrameHeader {
    var random = SeededGenerator(seed: seed)
    let isEncoded = Bool.random(using: &random)
    var header = FrameHeader(
      type: .pages, codec: .random(in: 0...255, using: &random), flags: isEncoded ? .dataEncoded : [],
      sequence: random.next(), iteration: .random(in: 0 ... .max, using: &random),
      recordCount: .random(in: 0...126, using: &random), lane: .random(in: 0 ... .max, using: &random),
      bodyChecksum: random.next())
    header.dataDecodedByteCount = Int.random(in: 1...192, using: &random) * 4096
    header.dataByteCount = isEncoded ? .random(in: 1...900_000, using: &random) : header.dataDecodedByteCount
    if Bool.random(using: &random) {
      header.flags.insert(.deltaEncoded)
      header.deltaByteCount = .random(in: 1...100_000, using: &random)
      header.deltaDecodedByteCount = .random(in: 1...192 * 4096, using: &random)
    }
    return header
  }
}

struct LengthFault: CustomTestStringConvertible, Sendable {
  let what: String
  let offset: Int
  let allowed: Int
  var testDescription: String { what }
}

let lengthFaults = [
  LengthFault(what: "a frame's record count", offset: 20, allowed: 126),
  LengthFault(what: "a frame's data part", offset: 24, allowed: 1 << 20),
  LengthFault(what: "a frame's delta part", offset: 28, allowed: 1 << 20),
  LengthFault(what: "a frame's decoded data", offset: 32, allowed: 192 * 4096),
  LengthFault(what: "a frame's decoded deltas", offset: 36, allowed: 192 * 4096),
]
