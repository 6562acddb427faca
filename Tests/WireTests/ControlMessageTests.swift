// SPDX-License-Identifier: Apache-2.0
import PageModel
import Testing
import Wire

@Suite("Control messages")
struct ControlMessageTests {
  @Test("every message comes back as it was sent", arguments: 0..<40 as Range<UInt64>)
  func roundTrip(seed: UInt64) throws {
    var generator = MessageGenerator(seed: seed)
    for message in generator.messages() {
      let decoded = try Fixture.decodeMessage(message.encoded())
      #expect(decoded == message, "seed \(seed)")
    }
  }

  @Test("types are numbered from 1 in the order of the conversation")
  func typeNumbers() throws {
    var generator = MessageGenerator(seed: 1)
    let numbers = try generator.messages().map {
      try ControlHeader(decoding: Array($0.encoded().prefix(ControlHeader.byteCount))).type
    }
    #expect(numbers == Array(1...19))
  }

  @Test("a body assembled by hand is what the encoder writes")
  func layout() {
    let identity = SessionIdentity(high: 1, low: 2)
    let token = Bytes.u64(1) + Bytes.u64(2)
    let hello = ControlMessage.Hello(
      session: identity, channelCount: 2, laneCount: 3, codecs: [1, 2], historyLog: 26, software: "é",
      blocks: [RAMBlock(name: "ram", guestPhysicalBase: 4096, byteCount: 8192, hostPageByteCount: 2 << 20)])
    let layouts: [(ControlMessage, Int, [UInt8])] = [
      (.hello(hello), 1, HelloFields().body),
      (
        .accept(.init(version: 1, token: identity, software: "x")), 2,
        Bytes.u16(1) + token + Bytes.text(Array("x".utf8))
      ),
      (.reject(.init(code: 35, reason: "no")), 3, Bytes.u16(35) + Bytes.text(Array("no".utf8))),
      (.attach(.init(version: 1, token: identity, channel: 7)), 4, Bytes.u16(1) + token + Bytes.u16(7)),
      (.iterationBegin(.init(iteration: 2, pageCount: 3)), 7, Bytes.u32(2) + Bytes.u64(3)),
      (
        .iterationEnd(.init(iteration: 2, zeroPageCount: 3, dataPageCount: 4, deltaPageCount: 5)), 8,
        Bytes.u32(2) + Bytes.u64(3) + Bytes.u64(4) + Bytes.u64(5)
      ),
      (
        .ack(.init(completedIteration: 2, appliedFrameCounts: [3, 4], receivedByteCount: 5)), 9,
        Bytes.u32(2) + Bytes.u16(2) + Bytes.u64(3) + Bytes.u64(4) + Bytes.u64(5)
      ),
      (
        .final(.init(guestState: [9, 8], digests: [.init(low: 1, high: 2)])), 10,
        Bytes.u32(2) + [9, 8] + Bytes.u16(1) + token
      ),
      (.commit, 12, []),
      (.cancel(reason: "no"), 14, Bytes.text(Array("no".utf8))),
    ]
    for (message, type, body) in layouts { #expect(message.encoded() == Fixture.message(type: type, body: body)) }
  }

  @Test("the largest hello and the largest final fit into a message")
  func largest() throws {
    let blocks = (0..<1024).map {
      RAMBlock(name: "\($0)" + String(repeating: "x", count: 251), guestPhysicalBase: 0, byteCount: 4096)
    }
    let hello = ControlMessage.hello(
      .init(
        session: SessionIdentity(high: 0, low: 0), channelCount: 64, laneCount: 256,
        codecs: Array(repeating: 1, count: 256), software: String(repeating: "x", count: 1024), blocks: blocks))
    let final = ControlMessage.final(
      .init(
        guestState: Array(repeating: 1, count: WireLimits.guestStateByteCountMax),
        digests: Array(repeating: .init(low: 1, high: 2), count: 1024)))
    for message in [hello, final] {
      let decoded = try Fixture.decodeMessage(message.encoded())
      #expect(decoded == message)
    }
  }

  @Test("a text that is too long is cut between characters", arguments: ["x", "é", "页", "🛳"])
  func longText(character: String) throws {
    for lead in 0..<4 {
      let text = String(repeating: ".", count: lead) + String(repeating: character, count: 1100)
      let message = try Fixture.decodeMessage(ControlMessage.cancel(reason: text).encoded())
      guard case .cancel(let reason) = message else {
        Issue.record("it came back as \(message)")
        return
      }
      #expect(text.utf8.starts(with: reason.utf8))
      #expect((1021...1024).contains(reason.utf8.count), "\(lead) bytes in front")
    }
  }

  @Test("a source that speaks other versions too is understood", arguments: [0...1, 1...1, 1...9, 0...65535])
  func versions(range: ClosedRange<Int>) throws {
    let bytes = Fixture.message(type: 1, body: HelloFields(lowest: range.lowerBound, highest: range.upperBound).body)
    guard case .hello(let hello) = try Fixture.decodeMessage(bytes) else {
      Issue.record("it is not a hello")
      return
    }
    #expect(hello.versions == UInt16(range.lowerBound)...UInt16(range.upperBound))
  }

  @Test("a session's name is its first eight digits")
  func sessionName() {
    #expect(SessionIdentity(high: 0x0012_3456_789a_bcde, low: 0).description == "00123456")
  }
}

/// The fields of a hello, for bodies with one field wrong.
struct HelloFields {
  var lowest = 1
  var highest = 1
  var channels = 2
  var lanes = 3
  var pageByteCount = 4096
  var features = 0
  var codecCount = 2
  var historyLog: UInt8 = 26
  var software = Bytes.text(Array("é".utf8))
  var blockCount = 1
  var name = Bytes.text(Array("ram".utf8))

  var body: [UInt8] {
    let numbers = Bytes.u16(lowest) + Bytes.u16(highest) + Bytes.u64(1) + Bytes.u64(2) + Bytes.u16(channels)
    let sizes =
      Bytes.u16(lanes) + Bytes.u32(pageByteCount) + Bytes.u32(features) + Bytes.u16(codecCount) + [1, 2, historyLog]
    let block = Bytes.u64(4096) + Bytes.u64(8192) + Bytes.u32(2 << 20) + name
    return numbers + sizes + software + Bytes.u16(blockCount) + block
  }
}
