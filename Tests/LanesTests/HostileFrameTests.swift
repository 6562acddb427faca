// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import HostSystem
import Lanes
import PageCodecs
import PageKernels
import PageModel
import TestSupport
import Testing
import Transport
import Wire

/// Frames that a receiver must refuse before it writes anything.
@Suite struct HostileFrameTests {
  /// A frame with one record and raw data, to be spoiled.
  static func frame(
    record: SpanRecord, data: [UInt8], codec: UInt8 = 0, flags: FrameFlags = [], decoded: Int? = nil,
    sequence: UInt64 = 0, lane: UInt16 = 0, iteration: UInt32 = 1, summedByteCount: Int? = nil
  ) -> [UInt8] {
    var body = [UInt8](repeating: 0, count: SpanRecord.byteCount)
    body.withMutableRawSpan { record.encode(into: &$0) }
    body += data
    let header = FrameHeader(
      type: .pages, codec: codec, flags: flags, sequence: sequence, iteration: iteration, recordCount: 1,
      dataByteCount: data.count, dataDecodedByteCount: decoded ?? data.count, lane: lane,
      bodyChecksum: PageHash.checksum(Array(body.prefix(summedByteCount ?? body.count))))
    var encoded = [UInt8](repeating: 0, count: FrameHeader.byteCount)
    encoded.withMutableRawSpan { header.encode(into: &$0) }
    return encoded + body
  }

  static let page = [UInt8](repeating: 7, count: 4096)
  static let good = SpanRecord.span(block: 0, index: 0, zero: 0, data: 1, delta: 0)

  /// What a receiver of one 70-page block says to `bytes`, whether or not threads decode for it.
  private func refusal(of bytes: [UInt8], features: SessionFeatures = []) throws -> LaneError {
    let error = try refusal(of: bytes, features: features, decoders: 0)
    #expect(try refusal(of: bytes, features: features, decoders: 2) == error)
    return error
  }

  private func refusal(of bytes: [UInt8], features: SessionFeatures, decoders: Int) throws -> LaneError {
    let blocks = try BlockTable([RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: 70 * 4096)])
    let harness = try PipelineHarness(channelCount: 1)
    let memory = try AnonymousMemory(blocks: blocks, populateAhead: false)
    let receiver = harness.receiver(memory, codecs: [.lz4, .zstdLong], features: features, decoders: decoders)
    receiver.start()
    try harness.near[0].send(bytes)
    harness.near[0].finishSending()
    let error = try harness.awaitFailure()
    receiver.stop()
    #expect(memory.writtenByteCount == 0, "something was written")
    return error
  }

  @Test("A good frame is applied: the harness can tell the difference")
  func goodFrame() throws {
    let blocks = try BlockTable([RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: 70 * 4096)])
    let harness = try PipelineHarness(channelCount: 1)
    let memory = try AnonymousMemory(blocks: blocks, populateAhead: false)
    let receiver = harness.receiver(memory, codecs: [])
    receiver.start()
    try harness.near[0].send(Self.frame(record: Self.good, data: Self.page))
    harness.near[0].finishSending()
    #expect(try harness.awaitFailure() == .transport(channel: 1, .closedByPeer))
    receiver.stop()
    #expect(memory.writtenByteCount == 4096)
  }

  @Test("Raw pages without a checksum are refused where that was not agreed on")
  func unsummedNotAgreed() throws {
    let error = try refusal(of: Self.frame(record: Self.good, data: Self.page, flags: .dataUnsummed))
    guard case .wire(1, _) = error else {
      Issue.record("\(error)")
      return
    }
  }

  @Test("Records of raw pages are checked before one of them is received", arguments: [70, 20])
  func unsummedRecords(offset: Int) throws {
    var bytes = Self.frame(record: Self.good, data: Self.page, flags: .dataUnsummed, summedByteCount: 32)
    bytes[offset] ^= 0x10
    let error = try refusal(of: bytes, features: .unsummedData)
    #expect(error == .wire(channel: 1, offset < 64 ? .headerCorrupt : .bodyCorrupt))
  }

  @Test("Random bytes are not a frame")
  func strangers() throws {
    let error = try refusal(of: Array("GET / HTTP/1.1\r\nHost: x\r\n\r\n".utf8) + [UInt8](repeating: 0, count: 100))
    guard case .wire(1, .foreignMagic) = error else {
      Issue.record("\(error)")
      return
    }
  }

  @Test("A flipped bit anywhere in a frame is noticed", arguments: [5, 17, 33, 61, 70, 100, 4000])
  func flippedBit(offset: Int) throws {
    var bytes = Self.frame(record: Self.good, data: Self.page)
    bytes[offset] ^= 0x10
    let error = try refusal(of: bytes)
    #expect(error == .wire(channel: 1, offset < 64 ? .headerCorrupt : .bodyCorrupt))
  }

  @Test("A frame of another iteration than is due is refused", arguments: [0, 2, .max] as [UInt32])
  func iteration(found: UInt32) throws {
    let error = try refusal(of: Self.frame(record: Self.good, data: Self.page, iteration: found))
    #expect(error == .wire(channel: 1, .iterationBroken(found: found, expected: 1)))
  }

  @Test("A frame of a lane that feeds another channel, or none, is refused", arguments: [8, 9, 65535] as [UInt16])
  func lane(found: UInt16) throws {
    let error = try refusal(of: Self.frame(record: Self.good, data: Self.page, lane: found))
    #expect(error == .laneElsewhere(channel: 1, lane: Int(found)))
  }

  @Test("After the last iteration no frame is taken", arguments: [0, 2])
  func closed(decoders: Int) throws {
    let blocks = try BlockTable([RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: 70 * 4096)])
    let harness = try PipelineHarness(channelCount: 1)
    let memory = try AnonymousMemory(blocks: blocks, populateAhead: false)
    let receiver = harness.receiver(memory, codecs: [], decoders: decoders)
    receiver.close()
    receiver.start()
    try harness.near[0].send(Self.frame(record: Self.good, data: Self.page))
    #expect(try harness.awaitFailure() == .wire(channel: 1, .frameAfterLast))
    receiver.stop()
    #expect(memory.writtenByteCount == 0)
  }

  @Test(
    "Deltas that are damaged, too long, or not what their lengths say are refused before anything is written",
    arguments: [0, 2])
  func deltas(decoders: Int) throws {
    let blocks = try BlockTable([RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: 70 * 4096)])
    let parts: [[UInt8]] = [
      [0, 0], [3, 0, 0, 1], [2, 0, 0, 0], [4, 0, 0xff, 0x7f, 1, 9], [3, 0, 0, 1, 9, 9], [0xff, 0x0f, 0, 1, 9],
      [3, 0, 0xff, 0xff, 0xff],
    ]
    for part in parts {
      let harness = try PipelineHarness(channelCount: 1)
      let memory = try AnonymousMemory(blocks: blocks, populateAhead: false)
      let receiver = ReceivingPipeline(
        memory: memory, connections: harness.far,
        session: .init(codecs: [], laneCount: 1, channelCount: 1, features: .deltas), decoderCount: decoders,
        onEvent: { [events = harness.events] in events.post(.receiving($0)) })
      receiver.start()
      try harness.near[0].send(Self.deltaFrame(part))
      switch try harness.awaitFailure() {
      case .wire, .badDelta: break
      case let other: Issue.record("\(part): \(other)")
      }
      receiver.stop()
      #expect(memory.writtenByteCount == 0, "\(part)")
    }
  }

  /// A frame with one data page and one delta page.
  private static func deltaFrame(_ part: [UInt8]) -> [UInt8] {
    var body = [UInt8](repeating: 0, count: SpanRecord.byteCount)
    let record = SpanRecord.span(block: 0, index: 0, zero: 0, data: 1, delta: 2)
    body.withMutableRawSpan { record.encode(into: &$0) }
    body += page + part
    let header = FrameHeader(
      type: .pages, iteration: 1, recordCount: 1, dataByteCount: 4096, deltaByteCount: part.count,
      dataDecodedByteCount: 4096, deltaDecodedByteCount: part.count, lane: 0, bodyChecksum: PageHash.checksum(body))
    var encoded = [UInt8](repeating: 0, count: FrameHeader.byteCount)
    encoded.withMutableRawSpan { header.encode(into: &$0) }
    return encoded + body
  }

  @Test("A frame out of sequence is refused")
  func outOfSequence() throws {
    let error = try refusal(of: Self.frame(record: Self.good, data: Self.page, sequence: 3))
    #expect(error == .wire(channel: 1, .sequenceBroken(found: 3, expected: 0)))
  }

  @Test("Pages outside the guest's memory are refused")
  func outside() throws {
    let past = SpanRecord.span(block: 0, index: 1, zero: 0, data: 1 << 6, delta: 0)
    #expect(
      try refusal(of: Self.frame(record: past, data: Self.page))
        == .wire(channel: 1, .pageOutsideBlock(block: 0, span: 1)))
    let noSpan = SpanRecord.span(block: 0, index: 2, zero: 0, data: 1, delta: 0)
    #expect(
      try refusal(of: Self.frame(record: noSpan, data: Self.page))
        == .wire(channel: 1, .spanOutsideBlock(block: 0, span: 2, spanCount: 2)))
    let noBlock = SpanRecord.span(block: 1, index: 0, zero: 0, data: 1, delta: 0)
    #expect(
      try refusal(of: Self.frame(record: noBlock, data: Self.page))
        == .wire(channel: 1, .blockUnknown(found: 1, blockCount: 1)))
    let long = SpanRecord.zeroRun(block: 0, index: 1, count: 2)
    #expect(
      try refusal(of: Self.frame(record: long, data: []))
        == .wire(channel: 1, .spanOutsideBlock(block: 0, span: 2, spanCount: 2)))
  }

  @Test("Less or more data than the records say is refused")
  func wrongAmount() throws {
    #expect(
      try refusal(of: Self.frame(record: Self.good, data: Self.page + Self.page))
        == .wire(channel: 1, .lengthMismatch(what: "a frame's decoded data", found: 8192, expected: 4096)))
  }

  @Test("A codec that the session did not agree on is refused")
  func strangeCodec() throws {
    let error = try refusal(
      of: Self.frame(
        record: Self.good, data: [1, 2, 3], codec: CodecTag.zstd.rawValue, flags: .dataEncoded, decoded: 4096))
    #expect(error == .codecNotAgreed(channel: 1, tag: CodecTag.zstd.rawValue))
  }

  @Test("Data that does not decode is refused")
  func undecodable() throws {
    let error = try refusal(
      of: Self.frame(
        record: Self.good, data: [1, 2, 3], codec: CodecTag.lz4.rawValue, flags: .dataEncoded, decoded: 4096))
    #expect(error == .codec(.corrupt(codec: "lz4", expected: 4096)))
  }

  /// A page as the first frame of a history.
  static func beginning(historyByteCount: Int = 1 << 20) throws -> [UInt8] {
    let codec = try ZstdLongCodec(level: 1, historyByteCount: historyByteCount)
    var room = [UInt8](repeating: 0, count: 8192)
    let count = page.withRawSpan { page in room.withMutableRawSpan { codec.encode(page, into: &$0) } }
    return Array(room.prefix(try #require(count)))
  }

  static func withHistory(
    _ data: [UInt8], flags: FrameFlags = [.dataEncoded, .historyBegins], codec: CodecTag = .zstdLong, lane: UInt16 = 0
  ) -> [UInt8] {
    frame(record: good, data: data, codec: codec.rawValue, flags: flags, decoded: 4096, lane: lane)
  }

  @Test("A history that has not begun, of a lane that is not there, or of a codec without one, is refused")
  func history() throws {
    let data = try Self.beginning()
    #expect(
      try refusal(of: Self.withHistory(data, flags: .dataEncoded))
        == .codecNotAgreed(channel: 1, tag: CodecTag.zstdLong.rawValue))
    #expect(try refusal(of: Self.withHistory(data, lane: 8)) == .laneElsewhere(channel: 1, lane: 8))
    #expect(try refusal(of: Self.withHistory(data, lane: 65535)) == .laneElsewhere(channel: 1, lane: 65535))
    #expect(
      try refusal(of: Self.withHistory(data, codec: .lz4)) == .codecNotAgreed(channel: 1, tag: CodecTag.lz4.rawValue))
    // 16 MiB where 1 MiB was agreed on.
    var large = try Self.beginning(historyByteCount: 16 << 20)
    #expect(try refusal(of: Self.withHistory(large)) == .codec(.corrupt(codec: "zstd-long", expected: 4096)))
    large = Array(data.dropLast())
    #expect(try refusal(of: Self.withHistory(large)) == .codec(.corrupt(codec: "zstd-long", expected: 4096)))
  }

  @Test("A history that begins twice is a new one each time")
  func historyAgain() throws {
    let blocks = try BlockTable([RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: 70 * 4096)])
    let harness = try PipelineHarness(channelCount: 1)
    let memory = try AnonymousMemory(blocks: blocks, populateAhead: false)
    let receiver = harness.receiver(memory, codecs: [.zstdLong])
    receiver.start()
    let data = try Self.beginning()
    try harness.near[0].send(Self.withHistory(data))
    try harness.near[0].send(
      Self.frame(
        record: Self.good, data: data, codec: CodecTag.zstdLong.rawValue, flags: [.dataEncoded, .historyBegins],
        decoded: 4096, sequence: 1))
    harness.near[0].finishSending()
    #expect(try harness.awaitFailure() == .transport(channel: 1, .closedByPeer))
    receiver.stop()
    #expect(receiver.statistics.dataPages == 2)
  }
}
