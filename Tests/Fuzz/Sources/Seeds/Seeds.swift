// SPDX-License-Identifier: Apache-2.0
import PageCodecs
import PageKernels
import PageModel
import Wire

/// A file of the corpus.
struct Seed {
  let decoder: String
  let name: String
  let bytes: [UInt8]
}

// MARK: Frames, for the driver's blocks: 130 pages, 64 pages, 1 page

func frameSeeds() -> [Seed] {
  let spans: [SpanRecord] = [
    .span(block: 0, index: 0, zero: 0x0f0f, data: 0, delta: 0),
    .span(block: 0, index: 2, zero: 0b11, data: 0, delta: 0),
    .zeroRun(block: 1, index: 0, count: 1),
  ]
  let encoded: [SpanRecord] = [.span(block: 2, index: 0, zero: 0, data: 1, delta: 0)]
  let delta: [SpanRecord] = [.span(block: 0, index: 1, zero: 0, data: 0, delta: 1)]
  let outside: [SpanRecord] = [.span(block: 0, index: 2, zero: 1 << 60, data: 0, delta: 0)]
  return [
    ("end-of-iteration", frame(.endOfIteration, [])),
    ("lane-moved", frame(.laneMoved, [])),
    ("spans", frame(.pages, spans)),
    ("zero-run-to-the-end", frame(.pages, [.zeroRun(block: 0, index: 0, count: 3)])),
    ("encoded-page", frame(.pages, encoded, payload: Array(repeating: 7, count: 40), decodedByteCount: 4096)),
    ("delta", frame(.pages, delta, payload: [], deltaPart: Array(repeating: 9, count: 8))),
    ("page-outside", frame(.pages, outside)),
    ("wrong-checksum", Array(frame(.pages, spans).dropLast()) + [0xff]),
  ].map { Seed(decoder: "frame", name: $0.0, bytes: $0.1) }
}

func frame(
  _ type: FrameType, _ records: [SpanRecord], payload: [UInt8] = [], decodedByteCount: Int = 0,
  deltaPart: [UInt8] = [], lane: UInt16 = 1, codec: CodecTag? = .lz4
) -> [UInt8] {
  var body: [UInt8] = []
  for record in records {
    var bytes = [UInt8](repeating: 0, count: SpanRecord.byteCount)
    var span = bytes.mutableSpan
    var raw = unsafe span.mutableBytes
    record.encode(into: &raw)
    body += bytes
  }
  body += payload + deltaPart
  let header = FrameHeader(
    type: type, codec: payload.isEmpty ? 0 : codec?.rawValue ?? 0,
    flags: payload.isEmpty || codec == nil ? [] : .dataEncoded,
    sequence: 3, iteration: 1, recordCount: records.count, dataByteCount: payload.count,
    deltaByteCount: deltaPart.count, dataDecodedByteCount: decodedByteCount,
    deltaDecodedByteCount: deltaPart.count, lane: lane, channel: type == .laneMoved ? 2 : 0,
    bodyChecksum: PageHash.checksum(body))
  var bytes = [UInt8](repeating: 0, count: FrameHeader.byteCount)
  var span = bytes.mutableSpan
  var raw = unsafe span.mutableBytes
  header.encode(into: &raw)
  return bytes + body
}

// MARK: Control messages

func controlSeeds() -> [Seed] {
  let identity = SessionIdentity(high: 0x0123_4567_89ab_cdef, low: 0xfedc_ba98_7654_3210)
  let blocks = [
    RAMBlock(name: "pc.ram", guestPhysicalBase: 0, byteCount: 3 << 30),
    RAMBlock(name: "mémoire haute", guestPhysicalBase: 4 << 30, byteCount: 1 << 30, hostPageByteCount: 2 << 20),
  ]
  let hello = ControlMessage.Hello(
    session: identity, channelCount: 2, laneCount: 4, codecs: [0, 1, 2, 3, 4], historyLog: 24, software: "pageferry",
    blocks: blocks)
  let messages: [(String, ControlMessage)] = [
    ("hello", .hello(hello)),
    ("accept", .accept(.init(version: 1, token: identity, software: "pageferry"))),
    ("reject", .reject(.init(code: 35, reason: "RAM blocks differ"))),
    ("attach", .attach(.init(version: 1, token: identity, channel: 1))),
    ("attached", .attached),
    ("iteration-begin", .iterationBegin(.init(iteration: 1, pageCount: 1000))),
    (
      "iteration-end",
      .iterationEnd(.init(iteration: 1, zeroPageCount: 600, dataPageCount: 400, deltaPageCount: 0))
    ),
    ("ack", .ack(.init(completedIteration: 1, appliedFrameCounts: [10, 20], receivedByteCount: 30))),
    ("final", .final(.init(guestState: [1, 2, 3, 4], digests: [.init(low: 1, high: 2), .init(low: 3, high: 4)]))),
    ("commit", .commit),
    ("heartbeat", .heartbeat),
    ("cancel", .cancel(reason: "an operator's word")),
    ("error", .error(.init(code: 21, reason: "the disk is full"))),
  ]
  return messages.map { Seed(decoder: "control", name: $0.0, bytes: $0.1.encoded()) }
}

// MARK: Codecs: three bytes of length less one, then what the codec makes of a few pages

func codecSeeds() throws -> [Seed] {
  let page = Array(Array(repeatElement("the same words again and again; ".utf8, count: 128).joined()).prefix(4096))

  let mixed = (0..<512).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 3) }
  var seeds: [Seed] = []
  for type in CodecRegistry.all where type.identity.tag != .none {
    let codec = try type.init(level: type.identity.defaultLevel)
    for (name, content) in [("text-page", page), ("two-pages", page + page), ("short", mixed)] {
      let length = content.count - 1
      let prefix = [0, 8, 16].map { UInt8(truncatingIfNeeded: length >> $0) }
      let encoded = encode(content, with: codec)
      seeds.append(Seed(decoder: type.identity.name, name: name, bytes: prefix + encoded))
      if name == "text-page" {
        let cut = prefix + encoded.dropLast(4)
        seeds.append(Seed(decoder: type.identity.name, name: "cut", bytes: cut))
      }
    }
  }
  return seeds
}

func encode(_ content: [UInt8], with codec: any FrameCodec) -> [UInt8] {
  (codec as? any HistoryCodec)?.restart()
  var target = [UInt8](repeating: 0, count: content.count + 1024)
  var span = target.mutableSpan
  var raw = unsafe span.mutableBytes
  let count = unsafe codec.encode(content.span.bytes, into: &raw)
  return Array(target.prefix(count ?? 0))
}
