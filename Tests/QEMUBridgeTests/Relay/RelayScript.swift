// SPDX-License-Identifier: Apache-2.0
import PageKernels
import PageModel
import Wire

/// What a hostile half of a pair says, as a fuzzer writes it: options, then pieces of a kind and a length each. Lengths that go
/// too far end with the input.
struct RelayScript {
  /// What is done before the pieces, and how.
  struct Options: OptionSet {
    let rawValue: UInt8
    /// The half beside the source is played with; otherwise the one beside the destination.
    static let source = Options(rawValue: 1)
    /// The first two pieces are the greeting, and the beginning of the stream: otherwise good ones.
    static let greets = Options(rawValue: 2)
    static let opens = Options(rawValue: 4)
    /// The largest block is the hypervisor's own memory.
    static let direct = Options(rawValue: 8)
    /// The good beginning leaves a section open for pages.
    static let leavesOpen = Options(rawValue: 16)
    /// The good beginning has no footers.
    static let hasNoFooters = Options(rawValue: 32)
  }

  enum Piece {
    /// A frame for one of two data channels.
    case frame([UInt8], channel: Int)
    /// The same, with the number, the iteration and the checksums that it should have.
    case repairedFrame([UInt8], channel: Int)
    /// A control message: its type and its body.
    case message(UInt16, [UInt8])
    /// Nobody's: the product gets on with what it has to do.
    case turn([UInt8])
  }

  let options: Options
  private(set) var greeting: [UInt8]?
  private(set) var opening: [UInt8]?
  private(set) var pieces: [Piece] = []

  init(_ input: [UInt8]) {
    options = Options(rawValue: input.first ?? 0)
    var rest = input.dropFirst()
    func body(_ head: Int) -> [UInt8] {
      let bytes = Array(rest.dropFirst(head))
      guard bytes.count >= 2 else { return [] }
      return Array(bytes.dropFirst(2).prefix(Int(bytes[0]) | Int(bytes[1]) << 8))
    }
    if options.contains(.greets) {
      greeting = body(0)
      rest = rest.dropFirst(2 + (greeting?.count ?? 0))
    }
    if options.contains(.opens) {
      opening = body(0)
      rest = rest.dropFirst(2 + (opening?.count ?? 0))
    }
    while let kind = rest.first {
      let bytes = body(1)
      rest = rest.dropFirst(3 + bytes.count)
      let channel = Int(kind >> 2 & 1)
      switch kind & 3 {
      case 0: pieces.append(.frame(bytes, channel: channel))
      case 1: pieces.append(.repairedFrame(bytes, channel: channel))
      case 2: pieces.append(.message(UInt16(kind >> 3), bytes))
      default: pieces.append(.turn(bytes))
      }
    }
  }

  // MARK: On the wire

  /// A control message with the header that it should have.
  static func message(_ type: UInt16, _ body: [UInt8]) -> [UInt8] {
    var bytes = Array("PFC1".utf8)
    bytes.append(littleEndian: type)
    bytes.append(littleEndian: UInt16(0))
    bytes.append(littleEndian: UInt32(body.count))
    bytes.append(littleEndian: UInt32(truncatingIfNeeded: PageHash.checksum(body)))
    return bytes + body
  }

  /// A frame with the numbers and checksums that it should have; as it is, if it is too short.
  static func repaired(_ frame: [UInt8], sequence: UInt64, iteration: UInt32) -> [UInt8] {
    guard frame.count >= FrameHeader.byteCount else { return frame }
    var bytes = Array(frame[..<8])
    bytes.append(littleEndian: sequence)
    bytes.append(littleEndian: iteration)
    bytes += frame[20..<48]
    bytes.append(littleEndian: PageHash.checksum(Array(frame[FrameHeader.byteCount...])))
    bytes += frame[56..<60]
    bytes.append(littleEndian: UInt32(truncatingIfNeeded: PageHash.checksum(bytes)))
    return bytes + frame[FrameHeader.byteCount...]
  }

  /// The lane that a frame says it is of.
  static func lane(_ frame: [UInt8]) -> Int {
    frame.count >= FrameHeader.byteCount ? Int(frame[40]) | Int(frame[41]) << 8 : 0
  }

  // MARK: Good ones

  static let blocks = [
    RAMBlock(name: "pc.ram", guestPhysicalBase: 0, byteCount: 70 * 4096),
    RAMBlock(name: "pc.bios", guestPhysicalBase: 1 << 30, byteCount: 3 * 4096),
  ]

  static let hello = ControlMessage.Hello(
    session: SessionIdentity(high: 1, low: 2), channelCount: 2, laneCount: 3, features: [.relay, .deltas],
    codecs: [1, 2], software: "driver", blocks: blocks)

  /// The beginning of a stream with those blocks.
  var goodOpening: [UInt8] {
    var bytes: [UInt8] = [0x51, 0x45, 0x56, 0x4d, 0, 0, 0, 3, 7, 0, 0, 0, 2, 0x70, 0x63]
    bytes += [1, 0, 0, 0, 2, 3, 0x72, 0x61, 0x6d, 0, 0, 0, 0, 0, 0, 0, 4]
    bytes += Self.bigEndian(Self.blocks.reduce(4) { $0 + $1.byteCount })
    for block in Self.blocks {
      bytes += [UInt8(block.name.utf8.count)] + Array(block.name.utf8) + Self.bigEndian(block.byteCount)
    }
    bytes += [0, 0, 0, 0, 0, 0, 0, 0x10]
    if !options.contains(.hasNoFooters) { bytes += [0x7e, 0, 0, 0, 2] }
    return bytes + (options.contains(.leavesOpen) ? [2, 0, 0, 0, 2] : [])
  }

  private static func bigEndian(_ value: UInt64) -> [UInt8] {
    (0..<8).map { UInt8(truncatingIfNeeded: value >> (56 - 8 * UInt64($0))) }
  }
}

extension [UInt8] {
  fileprivate mutating func append<Value: FixedWidthInteger>(littleEndian value: Value) {
    for shift in stride(from: 0, to: Value.bitWidth, by: 8) { append(UInt8(truncatingIfNeeded: value >> shift)) }
  }
}
