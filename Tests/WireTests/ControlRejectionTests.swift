// SPDX-License-Identifier: Apache-2.0
import Testing
import Wire

@Suite("Control messages that are refused")
struct ControlRejectionTests {
  private static let attached = Fixture.message(type: 5, body: [])

  // MARK: Header

  @Test("a header that ends too early", arguments: 0..<16)
  func shortHeader(length: Int) {
    #expect(throws: WireError.truncated(what: "a control header")) {
      try ControlHeader(decoding: Array(Self.attached.prefix(length)))
    }
  }

  @Test("a header that is too long")
  func longHeader() {
    #expect(throws: WireError.trailingBytes(what: "a control header", count: 3)) {
      try ControlHeader(decoding: Self.attached + [0, 0, 0])
    }
  }

  @Test("another protocol's first bytes", arguments: ["GET / HTTP/1.1\r\n", "SSH-2.0-OpenSSH_9", "PFF1............"])
  func stranger(words: String) {
    let bytes = Array(words.utf8.prefix(16))
    #expect(throws: WireError.foreignMagic(found: Array(bytes.prefix(8)))) { try ControlHeader(decoding: bytes) }
  }

  @Test("reserved bits of the header", arguments: 0..<16)
  func reservedBits(bit: Int) {
    var bytes = Self.attached
    bytes[6 + bit / 8] |= 1 << UInt8(bit % 8)
    #expect(throws: WireError.unknownFlags(1 << UInt32(bit))) { try ControlHeader(decoding: bytes) }
  }

  @Test("a body longer than any message", arguments: [WireLimits.controlByteCountMax + 1, 0xffff_ffff])
  func longBody(length: Int) {
    var bytes = Self.attached
    WireDrivers.put(UInt32(length), in: &bytes, at: 8)
    let allowed = WireLimits.controlByteCountMax
    #expect(throws: WireError.tooLong(what: "a control message", found: length, allowed: allowed)) {
      try ControlHeader(decoding: bytes)
    }
  }

  // MARK: Body

  @Test("a body of another length than the header says", arguments: [-1, 1])
  func bodyLength(difference: Int) {
    let whole = ControlMessage.cancel(reason: "no").encoded()
    let bytes = difference < 0 ? whole.dropLast() : whole + [0]
    #expect(throws: WireError.truncated(what: "a control message")) { try Fixture.decodeMessage(Array(bytes)) }
  }

  @Test("a body with one bit changed")
  func corruptBody() {
    let whole = ControlMessage.cancel(reason: "the operator's reason").encoded()
    for bit in ControlHeader.byteCount * 8..<whole.count * 8 {
      var bytes = whole
      bytes[bit / 8] ^= 1 << UInt8(bit % 8)
      #expect(throws: WireError.bodyCorrupt, "bit \(bit)") { try Fixture.decodeMessage(bytes) }
    }
  }

  @Test("a header with one bit of its checksum changed", arguments: 96..<128)
  func corruptChecksum(bit: Int) {
    var bytes = ControlMessage.cancel(reason: "no").encoded()
    bytes[bit / 8] ^= 1 << UInt8(bit % 8)
    #expect(throws: WireError.bodyCorrupt) { try Fixture.decodeMessage(bytes) }
  }

  @Test("a message of unknown type", arguments: [0, 20, 255, 256, 65535])
  func unknownType(type: Int) {
    #expect(throws: WireError.unknownMessageType(UInt16(type))) {
      try Fixture.decodeMessage(Fixture.message(type: type, body: []))
    }
  }

  @Test("every message cut at every length")
  func truncated() throws {
    let names = Self.names
    for (type, body) in Self.smallBodies() {
      for length in 0..<body.count {
        let bytes = Fixture.message(type: type, body: Array(body.prefix(length)))
        #expect(throws: WireError.truncated(what: "the '\(names[type - 1])' message"), "\(length) bytes") {
          try Fixture.decodeMessage(bytes)
        }
      }
    }
  }

  @Test("every message with bytes after its end", arguments: [1, 2, 100])
  func trailing(count: Int) throws {
    let names = Self.names
    for (type, body) in Self.smallBodies() {
      let bytes = Fixture.message(type: type, body: body + [UInt8](repeating: 0, count: count))
      #expect(throws: WireError.trailingBytes(what: "the '\(names[type - 1])' message", count: count)) {
        try Fixture.decodeMessage(bytes)
      }
    }
  }

  private static let names = [
    "hello", "accept", "reject", "attach", "attached", "reserved", "iterationBegin", "iterationEnd", "ack", "final",
    "ready", "commit", "resumed", "cancel", "error", "heartbeat",
    "relay", "relayTaken", "relayEnd",
  ]

  /// Type and body of a message of every type.
  private static func smallBodies() -> [(Int, [UInt8])] {
    let token = Bytes.u64(1) + Bytes.u64(2)
    let reason = Bytes.text(Array("étape".utf8))
    return [
      (1, HelloFields().body), (2, Bytes.u16(1) + token + reason), (3, Bytes.u16(1) + reason),
      (4, Bytes.u16(1) + token + Bytes.u16(1)), (5, []), (6, []), (7, Bytes.u32(1) + Bytes.u64(1)),
      (8, Bytes.u32(1) + token + Bytes.u64(3)), (9, Bytes.u32(1) + Bytes.u16(2) + token + Bytes.u64(9)),
      (10, Bytes.u32(3) + [1, 2, 3] + Bytes.u16(1) + token), (11, token), (12, []), (13, Bytes.u64(1)), (14, reason),
      (15, Bytes.u16(1) + reason), (16, []),
      (17, Bytes.u32(7) + Bytes.u32(3) + [1, 2, 3]), (18, Bytes.u64(9)), (19, Bytes.u32(7)),
    ]
  }

  // MARK: Fields

  @Test("a hello with one field wrong", arguments: helloFaults)
  func hello(fault: Fault) {
    #expect(throws: fault.error) { try Fixture.decodeMessage(Fixture.message(type: 1, body: fault.body)) }
  }

  @Test("another message with one field wrong", arguments: otherFaults)
  func other(fault: Fault) {
    #expect(throws: fault.error) { try Fixture.decodeMessage(Fixture.message(type: fault.type, body: fault.body)) }
  }

  @Test("a text that is not UTF-8", arguments: [[0xff], [0xc3], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0x61, 0x80]])
  func badText(bytes: [UInt8]) {
    #expect(throws: WireError.badText(what: "a text in the 'cancel' message")) {
      try Fixture.decodeMessage(Fixture.message(type: 14, body: Bytes.text(bytes)))
    }
  }
}
