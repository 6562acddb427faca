// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

@testable import PageCodecs

/// A codec at a level, as a test argument; one of deflate may be held to an engine.
struct CodecCase: Sendable, CustomTestStringConvertible {
  let type: any FrameCodec.Type
  let level: Int
  var engine: DeflateEngine?

  var name: String { type.identity.name }
  var testDescription: String { "\(name):\(level)\(engine.map { " by \($0.name)" } ?? "")" }

  func make() throws(CodecError) -> any FrameCodec {
    guard let engine else { return try type.init(level: level) }
    return try DeflateCodec(level: level, engine: engine)
  }

  /// Every codec at its lowest, its usual and its highest level.
  static let all =
    CodecRegistry.all.flatMap { type in
      let identity = type.identity
      return Set([identity.levels.lowerBound, identity.defaultLevel, identity.levels.upperBound]).sorted()
        .map { CodecCase(type: type, level: $0) }
    } + deflateEngines

  /// Deflate by each engine that is present, at its lowest and its highest level.
  static let deflateEngines = DeflateEngine.allCases.filter { $0.isPresent }.flatMap { engine in
    [engine.levels.lowerBound, engine.levels.upperBound]
      .map { CodecCase(type: DeflateCodec.self, level: $0, engine: engine) }
  }

  /// Those that change the bytes.
  static let compressing = all.filter { $0.type.identity.tag != .none }

  /// Every codec at its usual level.
  static let usual = CodecRegistry.all.map { CodecCase(type: $0, level: $0.identity.defaultLevel) }
}

/// Pages as frames carry them.
enum FrameContent: CaseIterable {
  case zero, random, text, singleByte, mixed

  func pages(_ count: Int, seed: UInt64) -> [UInt8] {
    let kinds: [PageKind] =
      switch self {
      case .zero: [.zero]
      case .random: [.random]
      case .text: [.text]
      case .singleByte: [.singleByte]
      case .mixed: [.text, .random, .zero, .singleByte, .text]
      }
    return SamplePages.image((0..<count).map { kinds[$0 % kinds.count] }, seed: seed)
  }
}
