// SPDX-License-Identifier: Apache-2.0
/// The protocol's numbers. Everything read from a peer is checked against these before it is used.
public enum WireLimits {
  /// The protocol versions that this build speaks.
  public static let versions: ClosedRange<UInt16> = 1...1
  /// Largest frame: header, records and payload (1 MiB).
  public static let frameByteCountMax = 1 << 20
  /// Most pages of data in one frame.
  public static let framePageCountMax = 192
  /// Most span records in one frame.
  public static let frameRecordCountMax = 126
  /// Largest control message, its header not counted: a full block table fits.
  public static let controlByteCountMax = 512 << 10
  /// Longest text (a reason, a software name) in a control message, in bytes.
  public static let textByteCountMax = 1024
  /// Most data channels of a session.
  public static let channelCountMax = 64
  /// Most lanes of a session.
  public static let laneCountMax = 256
  /// What a lane's codec may look back over: base-2 logarithms of its bytes (512 KiB to 512 MiB).
  public static let historyLogs: ClosedRange<UInt8> = 19...29
  /// Largest guest state blob (registers, devices) in `final`.
  public static let guestStateByteCountMax = 256 << 10
  /// Most bytes of a relayed stream in one message.
  public static let relayByteCountMax = 256 << 10
}

/// Why bytes from a peer were refused. The peer is untrusted: these are expected, never traps.
public enum WireError: Error, Equatable, CustomStringConvertible {
  case foreignMagic(found: [UInt8])
  case headerCorrupt
  case bodyCorrupt
  case versionUnsupported(found: UInt16, supported: ClosedRange<UInt16>)
  case unknownFrameType(UInt8)
  case unknownFlags(UInt32)
  case unknownMessageType(UInt16)
  case tooLong(what: String, found: Int, allowed: Int)
  case truncated(what: String)
  case trailingBytes(what: String, count: Int)
  case badText(what: String)
  case badValue(what: String, found: UInt64)
  case sequenceBroken(found: UInt64, expected: UInt64)
  case iterationBroken(found: UInt32, expected: UInt32)
  case frameAfterLast
  case blockUnknown(found: Int, blockCount: Int)
  case spanOutsideBlock(block: Int, span: Int, spanCount: Int)
  case pageOutsideBlock(block: Int, span: Int)
  case masksOverlap(block: Int, span: Int)
  case lengthMismatch(what: String, found: Int, expected: Int)
  case deltaNotNegotiated

  public var description: String {
    switch self {
    case .foreignMagic(let found): "it does not speak PageFerry's protocol (it began with \(Self.printable(found)))"
    case .headerCorrupt: "a frame header does not match its checksum"
    case .bodyCorrupt: "a frame or message does not match its checksum"
    case .versionUnsupported(let found, let supported):
      "protocol version \(found) is not supported (this side speaks \(supported.lowerBound) to \(supported.upperBound))"
    case .unknownFrameType(let type): "unknown frame type \(type)"
    case .unknownFlags(let flags): "unknown flags 0x\(String(flags, radix: 16))"
    case .unknownMessageType(let type): "unknown control message type \(type)"
    case .tooLong(let what, let found, let allowed): "\(what): \(found), at most \(allowed) is allowed"
    case .truncated(let what): "\(what) ends too early"
    case .trailingBytes(let what, let count): "\(what) has \(count) bytes too many"
    case .badText(let what): "\(what) is not UTF-8"
    case .badValue(let what, let found): "\(what) cannot be \(found)"
    case .sequenceBroken(let found, let expected): "frame \(found) came where frame \(expected) was due"
    case .iterationBroken(let found, let expected): "a lane's frame is of iteration \(found), \(expected) was due"
    case .frameAfterLast: "a frame came after the last iteration was complete"
    case .blockUnknown(let found, let count): "a record names RAM block \(found) of \(count)"
    case .spanOutsideBlock(let block, let span, let count):
      "a record names span \(span) of RAM block \(block), which has \(count)"
    case .pageOutsideBlock(let block, let span): "a record names pages past the end of RAM block \(block), span \(span)"
    case .masksOverlap(let block, let span): "a record puts one page in two classes (RAM block \(block), span \(span))"
    case .lengthMismatch(let what, let found, let expected): "\(what) is \(found) bytes, its records say \(expected)"
    case .deltaNotNegotiated: "a record carries deltas, which this session did not agree on"
    }
  }

  /// The first bytes of a stranger, readable.
  private static func printable(_ bytes: [UInt8]) -> String {
    if bytes.allSatisfy({ (0x20..<0x7f).contains($0) }) { return "'" + String(decoding: bytes, as: UTF8.self) + "'" }
    return bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
  }
}
