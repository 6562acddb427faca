// SPDX-License-Identifier: Apache-2.0
import PageCodecs
import PageModel
import Wire

// What a proxy hears: a multifd channel of its hypervisor, for the driver's blocks, and what its other half says.

func channelSeeds() -> [Seed] {
  let opening =
    be(UInt32(0x1122_3344)) + be(UInt32(1)) + [UInt8](repeating: 3, count: 16) + [1] + [UInt8](repeating: 0, count: 39)
  let sync = packet(flags: 1)
  let start = opening + sync
  let channels: [(String, [UInt8])] = [
    ("page", start + packet(pages: [5 * 4096]) + sync),
    ("zero-pages", start + packet(zero: [0, 69 * 4096, 0]) + sync + sync),
    ("both", start + packet(pages: [4096], zero: [2 * 4096]) + packet(zero: [4096])),
    ("twice", start + packet(pages: [4096, 4096]) + sync),
    ("sync-with-page", start + packet(flags: 1, block: Array("pc.bios".utf8), pages: [0]) + sync),
    ("long-name", start + packet(block: [UInt8](repeating: 0x6e, count: 255), pages: [2 * 4096]) + sync),
    ("outside", start + packet(pages: [69 * 4096], zero: [70 * 4096])),
    ("unaligned", start + packet(zero: [4096, 100])),
    ("far-outside", start + packet(zero: [UInt64.max - 4095])),
    ("unknown-block", start + packet(block: [UInt8](repeating: 0x6e, count: 256), zero: [0])),
    ("compressed", start + packet(flags: 2, zero: [0])),
    ("too-many", start + packet(zero: Array(repeating: 0, count: 128), allocated: 127)),
    ("cut", start + packet(pages: [0]).dropLast()),
    ("barriers", start + sync + sync + sync + sync + sync),
    ("only-opening", opening),
  ]
  return channels.map { Seed(decoder: "departing-channel", name: $0.0, bytes: $0.1) }
}

private func packet(
  flags: UInt32 = 0, block: [UInt8] = Array("pc.ram".utf8), pages: [UInt64] = [], zero: [UInt64] = [],
  allocated: UInt32 = 128
) -> [UInt8] {
  let counts = [UInt32(pages.count), UInt32(pages.count * 4096), 0, 7, UInt32(zero.count)]
  let fields = ([0x1122_3344, 1, flags, allocated] + counts).flatMap { be($0) }
  let offsets = (pages + zero).flatMap { be($0) }
  return fields + [UInt8](repeating: 0, count: 28) + block + [UInt8](repeating: 0, count: 256 - block.count) + offsets
    + [UInt8](repeating: 0, count: 1024 - offsets.count) + pages.flatMap { _ in [UInt8](repeating: 9, count: 4096) }
}

// MARK: Scripts: options, then pieces of a kind, a length and bytes

func relaySeeds() throws -> [Seed] {
  let page = [UInt8](repeating: 6, count: 4096)
  let lz4 = encode(page + page, with: try LZ4Codec(level: LZ4Codec.identity.defaultLevel))
  func record(_ block: Int, _ index: Int, zero: PageMask = 0, data: PageMask = 0, delta: PageMask = 0) -> SpanRecord {
    .span(block: block, index: index, zero: zero, data: data, delta: delta)
  }
  let lanes = (0..<3).flatMap { frame($0, frame(.endOfIteration, [], lane: $0)) }
  let raw = frame(
    0, frame(.pages, [record(0, 1, zero: 0b1, data: 0b100)], payload: page, decodedByteCount: 4096, lane: 0, codec: nil)
  )
  let packed = frame(1, frame(.pages, [record(1, 0, data: 0b11)], payload: lz4, decodedByteCount: 8192, lane: 1))
  let zeros = frame(0, frame(.pages, [.zeroRun(block: 0, index: 0, count: 2)], lane: 2))
  let delta = frame(0, frame(.pages, [record(0, 0, delta: 0b10)], deltaPart: [3, 0, 4, 1, 9], lane: 0))
  let outside = frame(0, frame(.pages, [record(0, 1, zero: 1 << 6)], lane: 0))
  let turn = piece(3, [])
  func relay(_ after: UInt32, _ bytes: [UInt8]) -> [UInt8] {
    message(.relay(.init(afterIteration: after, bytes: bytes)))
  }
  let end = message(.relayEnd(afterIteration: 1))
  let whole = raw + packed + lanes + turn + zeros + lanes + relay(2, [3, 0, 0, 0, 2]) + end + turn
  let hello = ControlMessage.Hello(
    session: SessionIdentity(high: 1, low: 2), channelCount: 1, laneCount: 1, features: [.relay], codecs: [],
    software: "x", blocks: [])
  func counted(_ hello: ControlMessage.Hello) -> [UInt8] {
    prefixed(Array(ControlMessage.hello(hello).encoded().dropFirst(ControlHeader.byteCount)))
  }
  let greeting = counted(hello)
  var unprintable = hello
  unprintable.blocks = (0..<2).map {
    RAMBlock(name: "\u{1b}[2J", guestPhysicalBase: UInt64($0) << 30, byteCount: 4096)
  }
  let left = piece(3, [0, 4, 1, 16, 0])
  let ack = message(.ack(.init(completedIteration: 1, appliedFrameCounts: [1, 2], receivedByteCount: 3)))
  let answers = left + ack + relay(0, [0, 1, 0, 4, 0, 0, 0, 0]) + message(.relayTaken(byteCount: 116)) + left
  let scripts: [(String, [UInt8])] = [
    ("pages", [0] + whole),
    ("direct", [8] + whole),
    ("zeros-first", [0] + zeros + raw + lanes + turn + zeros + raw + raw + lanes + turn),
    ("open", [16] + whole),
    ("no-footers", [32] + delta + lanes + turn),
    ("delta", [8] + raw + delta + lanes + turn),
    ("outside", [0] + outside),
    ("early", [0] + relay(1, [9]) + relay(0, [8]) + lanes + turn + relay(0, [])),
    ("mark-twice", [0] + lanes + lanes + turn + lanes),
    ("behind-end", [0] + message(.relayEnd(afterIteration: 0)) + relay(0, [1]) + turn + raw + lanes),
    ("verbatim", [2] + greeting + relay(0, [1, 2, 3]) + turn + message(.relayEnd(afterIteration: 0))),
    ("hello-that-cannot-be-printed", [2] + counted(unprintable)),
    ("hello-without-blocks", [6] + greeting + prefixed([]) + relay(7, [1])),
    ("stream-of-nothing", [4] + prefixed([0x51, 0x45, 0x56, 0x4d])),
    ("out-of-turn", [0] + message(.commit)),
    ("answers", [1] + answers + message(.relayEnd(afterIteration: 0))),
    (
      "answers-first",
      [5] + prefixed([]) + relay(0, [7]) + message(.relayTaken(byteCount: 100)) + message(.reserved) + answers
    ),
    (
      "too-much",
      [1] + message(.ack(.init(completedIteration: .max, appliedFrameCounts: [], receivedByteCount: 0)))
        + message(.relayTaken(byteCount: .max)) + left + left
    ),
    ("refusal", [3] + prefixed([1, 0]) + message(.heartbeat)),
    ("cancel", [1] + left + message(.cancel(reason: "an operator's word"))),
  ]
  return scripts.map { Seed(decoder: "relay-messages", name: $0.0, bytes: $0.1) }
}

/// A frame, to be repaired, of a lane, on the channel that this lane feeds.
private func frame(_ lane: UInt16, _ bytes: [UInt8]) -> [UInt8] { piece(1 | UInt8(lane % 2) << 2, bytes) }

private func message(_ message: ControlMessage) -> [UInt8] {
  let bytes = message.encoded()
  return piece(2 | bytes[4] << 3, Array(bytes.dropFirst(ControlHeader.byteCount)))
}

private func piece(_ kind: UInt8, _ bytes: [UInt8]) -> [UInt8] { [kind] + prefixed(bytes) }

private func prefixed(_ bytes: [UInt8]) -> [UInt8] {
  [UInt8(bytes.count & 255), UInt8(bytes.count >> 8)] + bytes
}
