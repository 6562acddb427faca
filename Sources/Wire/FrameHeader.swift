// SPDX-License-Identifier: Apache-2.0
import PageKernels

/// What a frame is for.
public enum FrameType: UInt8, Sendable {
  /// Span records and their pages.
  case pages = 1
  /// A lane's last frame of an iteration: no records, no payload.
  case endOfIteration = 2
  /// A lane's last frame on this channel: what follows comes on another, which it names. No records, no payload.
  case laneMoved = 3

  /// Whether frames of this type are a header and nothing else.
  var isBare: Bool { self != .pages }
}

/// Bits of a frame header's flags.
public struct FrameFlags: OptionSet, Sendable {
  public let rawValue: UInt8
  public init(rawValue: UInt8) { self.rawValue = rawValue }

  /// The data part of the payload is encoded with the header's codec; otherwise it is raw pages.
  public static let dataEncoded = FrameFlags(rawValue: 1)
  /// The delta part of the payload is encoded with the header's codec.
  public static let deltaEncoded = FrameFlags(rawValue: 2)

  /// The codec's history begins with this frame: what the lane sent before is forgotten.
  public static let historyBegins = FrameFlags(rawValue: 4)

  /// The body's checksum covers the records alone: the data part is raw pages straight from guest memory, and what
  /// vouches for them is the digest of their block.
  public static let dataUnsummed = FrameFlags(rawValue: 8)

  static let known: FrameFlags = [.dataEncoded, .deltaEncoded, .historyBegins, .dataUnsummed]
}

/// The fixed header of a frame: 64 bytes, little-endian. `docs/WIRE.md` has the byte table.
public struct FrameHeader: Equatable, Sendable {
  /// Bytes of a header.
  public static let byteCount = 64
  /// "PFF1" read as a little-endian number.
  public static let magic: UInt32 = 0x3146_4650

  public var type: FrameType
  /// Number of the codec that the flags refer to.
  public var codec: UInt8
  public var flags: FrameFlags
  /// Frames sent on this channel before this one; stamped by the channel's sender.
  public var sequence: UInt64
  /// Counts from 1, the bulk stage.
  public var iteration: UInt32
  public var recordCount: Int
  /// Bytes on the wire of the payload's data part and delta part.
  public var dataByteCount: Int
  public var deltaByteCount: Int
  /// The same parts once decoded.
  public var dataDecodedByteCount: Int
  public var deltaDecodedByteCount: Int
  /// The lane that made the frame.
  public var lane: UInt16
  /// Of ``FrameType/laneMoved``: the channel that the lane feeds from now on, from 1; 0 in every other frame.
  public var channel: UInt16
  /// XXH3-64 of records and payload; of the records alone with ``FrameFlags/dataUnsummed``.
  public var bodyChecksum: UInt64

  public init(
    type: FrameType, codec: UInt8 = 0, flags: FrameFlags = [], sequence: UInt64 = 0, iteration: UInt32,
    recordCount: Int = 0, dataByteCount: Int = 0, deltaByteCount: Int = 0, dataDecodedByteCount: Int = 0,
    deltaDecodedByteCount: Int = 0, lane: UInt16, channel: UInt16 = 0, bodyChecksum: UInt64
  ) {
    self.type = type
    self.codec = codec
    self.flags = flags
    self.sequence = sequence
    self.iteration = iteration
    self.recordCount = recordCount
    self.dataByteCount = dataByteCount
    self.deltaByteCount = deltaByteCount
    self.dataDecodedByteCount = dataDecodedByteCount
    self.deltaDecodedByteCount = deltaDecodedByteCount
    self.lane = lane
    self.channel = channel
    self.bodyChecksum = bodyChecksum
  }

  /// Bytes of records and payload that follow the header.
  public var bodyByteCount: Int { recordCount * SpanRecord.byteCount + dataByteCount + deltaByteCount }

  /// Bytes of the body that its checksum covers.
  public var summedByteCount: Int {
    flags.contains(.dataUnsummed) ? recordCount * SpanRecord.byteCount : bodyByteCount
  }

  private enum Offset {
    static let magic = 0, version = 4, type = 5, codec = 6, flags = 7
    static let sequence = 8, iteration = 16, recordCount = 20
    static let data = 24, delta = 28, dataDecoded = 32, deltaDecoded = 36
    static let lane = 40, channel = 42, bodyChecksum = 48, headerChecksum = 60
  }

  /// Writes the header to the first 64 bytes of `out`, its own checksum last.
  public func encode(into out: inout MutableRawSpan) {
    out.store(Self.magic, at: Offset.magic)
    out.store(UInt8(WireLimits.versions.upperBound), at: Offset.version)
    out.store(type.rawValue, at: Offset.type)
    out.store(codec, at: Offset.codec)
    out.store(flags.rawValue, at: Offset.flags)
    out.store(iteration, at: Offset.iteration)
    out.store(UInt32(recordCount), at: Offset.recordCount)
    out.store(UInt32(dataByteCount), at: Offset.data)
    out.store(UInt32(deltaByteCount), at: Offset.delta)
    out.store(UInt32(dataDecodedByteCount), at: Offset.dataDecoded)
    out.store(UInt32(deltaDecodedByteCount), at: Offset.deltaDecoded)
    out.store(lane, at: Offset.lane)
    out.store(channel, at: Offset.channel)
    out.store(UInt32(0), at: Offset.channel + 2)
    out.store(bodyChecksum, at: Offset.bodyChecksum)
    out.store(UInt32(0), at: Offset.bodyChecksum + 8)
    Self.stamp(sequence: sequence, into: &out)
  }

  /// Sets the sequence number of an encoded header and renews its checksum: only the channel's sender knows it.
  public static func stamp(sequence: UInt64, into out: inout MutableRawSpan) {
    out.store(sequence, at: Offset.sequence)
    let checksum = PageHash.checksum(out.bytes.extracting(0..<Offset.headerChecksum))
    out.store(UInt32(truncatingIfNeeded: checksum), at: Offset.headerChecksum)
  }

  /// Reads and checks a header: checksum, version, type, flags and every length against ``WireLimits``.
  /// - Parameter bytes: at least 64.
  public init(decoding bytes: RawSpan) throws(WireError) {
    guard bytes.byteCount >= Self.byteCount else { throw .truncated(what: "a frame header") }
    guard bytes.load(Offset.magic, as: UInt32.self) == Self.magic else {
      throw .foreignMagic(found: (0..<8).map { bytes.load($0) })
    }
    let checksum = PageHash.checksum(bytes.extracting(0..<Offset.headerChecksum))
    guard UInt32(truncatingIfNeeded: checksum) == bytes.load(Offset.headerChecksum, as: UInt32.self) else {
      throw .headerCorrupt
    }
    let version = UInt16(bytes.load(Offset.version, as: UInt8.self))
    guard WireLimits.versions.contains(version) else {
      throw .versionUnsupported(found: version, supported: WireLimits.versions)
    }
    let rawType: UInt8 = bytes.load(Offset.type)
    guard let type = FrameType(rawValue: rawType) else { throw .unknownFrameType(rawType) }
    let flags = FrameFlags(rawValue: bytes.load(Offset.flags))
    // A history can only begin with a part that is encoded.
    guard flags.isSubset(of: .known),
      !flags.isDisjoint(with: [.dataEncoded, .deltaEncoded]) || !flags.contains(.historyBegins)
    else {
      throw .unknownFlags(UInt32(flags.rawValue))
    }
    self.init(
      type: type, codec: bytes.load(Offset.codec), flags: flags, sequence: bytes.load(Offset.sequence),
      iteration: bytes.load(Offset.iteration), recordCount: Int(bytes.load(Offset.recordCount, as: UInt32.self)),
      dataByteCount: Int(bytes.load(Offset.data, as: UInt32.self)),
      deltaByteCount: Int(bytes.load(Offset.delta, as: UInt32.self)),
      dataDecodedByteCount: Int(bytes.load(Offset.dataDecoded, as: UInt32.self)),
      deltaDecodedByteCount: Int(bytes.load(Offset.deltaDecoded, as: UInt32.self)),
      lane: bytes.load(Offset.lane), channel: type == .laneMoved ? bytes.load(Offset.channel) : 0,
      bodyChecksum: bytes.load(Offset.bodyChecksum))
    try checkLengths()
  }

  private func checkLengths() throws(WireError) {
    let pagesMax = WireLimits.framePageCountMax * 4096
    try Self.check(recordCount, atMost: WireLimits.frameRecordCountMax, "a frame's record count")
    // Each part is bounded by itself first, so that their sum cannot overflow.
    try Self.check(dataByteCount, atMost: WireLimits.frameByteCountMax, "a frame's data part")
    try Self.check(deltaByteCount, atMost: WireLimits.frameByteCountMax, "a frame's delta part")
    try Self.check(dataDecodedByteCount, atMost: pagesMax, "a frame's decoded data")
    try Self.check(deltaDecodedByteCount, atMost: pagesMax, "a frame's decoded deltas")
    try Self.check(Self.byteCount + bodyByteCount, atMost: WireLimits.frameByteCountMax, "a frame")
    try checkPart(.dataEncoded, wire: dataByteCount, decoded: dataDecodedByteCount, "data part")
    try checkPart(.deltaEncoded, wire: deltaByteCount, decoded: deltaDecodedByteCount, "delta part")
    if flags.contains(.dataUnsummed), flags != .dataUnsummed || deltaByteCount != 0 || type != .pages {
      throw .unknownFlags(UInt32(flags.rawValue))
    }
    if type.isBare, bodyByteCount != 0 {
      let name = type == .endOfIteration ? "an end-of-iteration" : "a lane-moved"
      throw .lengthMismatch(what: "\(name) frame's body", found: bodyByteCount, expected: 0)
    }
  }

  private func checkPart(_ flag: FrameFlags, wire: Int, decoded: Int, _ what: String) throws(WireError) {
    if flags.contains(flag) ? (wire == 0) != (decoded == 0) : wire != decoded {
      throw .lengthMismatch(what: "a frame's \(what)", found: wire, expected: decoded)
    }
  }

  private static func check(_ found: Int, atMost allowed: Int, _ what: String) throws(WireError) {
    guard found <= allowed else { throw .tooLong(what: what, found: found, allowed: allowed) }
  }
}
