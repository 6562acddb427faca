// SPDX-License-Identifier: Apache-2.0

/// Turns a run of page bytes into fewer bytes and back.
///
/// One instance belongs to one thread and keeps its library's context from frame to frame: nothing is allocated once
/// it is warm. Every output decodes by itself, unless the codec is a ``HistoryCodec``.
/// A new codec is one file that conforms to this, and one line in ``CodecRegistry``.
public protocol FrameCodec: AnyObject, SendableMetatype {
  /// What the wire and the operator call this codec.
  static var identity: CodecIdentity { get }

  /// A codec ready to work.
  /// - Parameter level: the operator's parameter, within `identity.levels`.
  /// - Throws: ``CodecError/unavailable(codec:reason:)`` if the library could not make a context.
  init(level: Int) throws(CodecError)

  /// Encodes `source` into `destination`.
  /// - Returns: bytes written, or nil if the result does not fit: the caller then sends `source` as it is.
  func encode(_ source: RawSpan, into destination: inout MutableRawSpan) -> Int?

  /// Decodes `source`, which must yield exactly `destination.byteCount` bytes. `source` is untrusted.
  /// - Throws: ``CodecError/corrupt(codec:expected:)``; `destination` is then partly written, never past its end.
  func decode(_ source: RawSpan, into destination: inout MutableRawSpan) throws(CodecError)
}

/// A codec whose frames refer to frames before them, of the same lane.
///
/// A lane's frames arrive in order, so both sides of a lane have the same history. It begins with the first frame after
/// `init` or a restart, and that frame is marked on the wire.
public protocol HistoryCodec: FrameCodec {
  /// A codec that looks back over at most `historyByteCount` bytes.
  init(level: Int, historyByteCount: Int) throws(CodecError)

  /// Forgets everything: the next frame is decoded without those before it.
  func restart()

  /// The same, and goes on at another level.
  func restart(level: Int)
}

/// A codec's names and range.
public struct CodecIdentity: Sendable, Equatable {
  /// Its number in a frame header.
  public let tag: CodecTag
  /// What an operator types.
  public let name: String
  /// What the number after the colon means ("level", "acceleration"), or nil if there is none.
  public let levelName: String?
  /// Allowed levels.
  public let levels: ClosedRange<Int>
  /// The level when none is given.
  public let defaultLevel: Int
  /// Library and version in use.
  public let library: String
  /// What to install for the codec to do better on this host, or nil.
  public var advice: String? = nil
  /// One line for `--help` and `doctor`.
  public let summary: String
}

/// A codec's number on the wire. Numbers are never used again for something else.
public struct CodecTag: RawRepresentable, Sendable, Hashable {
  public let rawValue: UInt8
  public init(rawValue: UInt8) { self.rawValue = rawValue }

  public static let none = CodecTag(rawValue: 0)
  public static let lz4 = CodecTag(rawValue: 1)
  public static let zstd = CodecTag(rawValue: 2)
  public static let deflate = CodecTag(rawValue: 3)
  public static let zstdLong = CodecTag(rawValue: 4)
}

/// Why a codec refused.
public enum CodecError: Error, Equatable, CustomStringConvertible {
  case unknown(name: String, known: [String])
  case badLevel(codec: String, found: String, allowed: ClosedRange<Int>)
  case takesNoLevel(codec: String)
  case unavailable(codec: String, reason: String)
  case corrupt(codec: String, expected: Int)

  public var description: String {
    switch self {
    case .unknown(let name, let known): "unknown codec '\(name)'; known: \(known.joined(separator: ", "))"
    case .badLevel(let codec, let found, let allowed):
      "codec \(codec): '\(found)' is not a whole number from \(allowed.lowerBound) to \(allowed.upperBound)"
    case .takesNoLevel(let codec): "codec \(codec) takes no level"
    case .unavailable(let codec, let reason): "codec \(codec) cannot be used: \(reason)"
    case .corrupt(let codec, let expected): "\(codec) data does not decode to the \(expected) bytes that it claims"
    }
  }
}
