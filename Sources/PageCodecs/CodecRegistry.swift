// SPDX-License-Identifier: Apache-2.0

/// Every codec there is. A new one adds its line here.
public enum CodecRegistry {
  /// The codecs, in the order in which they are listed to people.
  public static let all: [any FrameCodec.Type] = [
    NoneCodec.self,
    LZ4Codec.self,
    ZstdCodec.self,
    ZstdLongCodec.self,
    DeflateCodec.self,
  ]

  /// The codec with number `tag`, or nil.
  public static func codec(tag: CodecTag) -> (any FrameCodec.Type)? { all.first { $0.identity.tag == tag } }
}

/// A codec and its level, as the operator named them: `none`, `lz4`, `lz4:8`, `zstd:-1`, `deflate:6`.
public struct CodecChoice: Sendable, Equatable, CustomStringConvertible {
  /// Number of the codec.
  public let tag: CodecTag
  /// Its level, within the codec's range.
  public let level: Int

  /// No compression.
  public static let none = CodecChoice(tag: .none, level: 0)

  init(tag: CodecTag, level: Int) {
    self.tag = tag
    self.level = level
  }

  /// Reads `name` or `name:level`.
  /// - Throws: ``CodecError`` saying which names or levels there are.
  public init(parsing text: String) throws(CodecError) {
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    let name = parts.first.map(String.init) ?? ""
    guard let identity = CodecRegistry.all.map({ $0.identity }).first(where: { $0.name == name }) else {
      throw .unknown(name: name, known: CodecRegistry.all.map { $0.identity.name })
    }
    tag = identity.tag
    guard parts.count == 2 else {
      level = identity.defaultLevel
      return
    }
    guard identity.levelName != nil else { throw .takesNoLevel(codec: name) }
    guard let level = Int(parts[1]), identity.levels.contains(level) else {
      throw .badLevel(codec: name, found: String(parts[1]), allowed: identity.levels)
    }
    self.level = level
  }

  /// Whether its frames refer to frames before them.
  public var hasHistory: Bool { CodecRegistry.codec(tag: tag) is any HistoryCodec.Type }

  /// Makes the codec.
  /// - Parameter historyByteCount: what a ``HistoryCodec`` may look back over.
  public func make(historyByteCount: Int = 0) throws(CodecError) -> any FrameCodec {
    guard let type = CodecRegistry.codec(tag: tag) else {
      throw .unknown(name: "number \(tag.rawValue)", known: CodecRegistry.all.map { $0.identity.name })
    }
    if historyByteCount > 0, let type = type as? any HistoryCodec.Type {
      return try type.init(level: level, historyByteCount: historyByteCount)
    }
    return try type.init(level: level)
  }

  public var description: String {
    guard let identity = CodecRegistry.codec(tag: tag)?.identity else { return "codec \(tag.rawValue)" }
    return identity.levelName == nil ? identity.name : "\(identity.name):\(level)"
  }
}
