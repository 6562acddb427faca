// SPDX-License-Identifier: Apache-2.0

/// What an operator asks for: one codec for everything, or `auto`.
public enum CodecPolicy: Sendable, Equatable, CustomStringConvertible {
  /// Always this codec.
  case fixed(CodecChoice)
  /// Each lane picks from ``AdaptiveChooser/ladder`` what moves most guest memory now.
  case automatic

  /// No compression.
  public static let none = CodecPolicy.fixed(.none)

  /// Reads `auto`, or what ``CodecChoice`` reads.
  public init(parsing text: String) throws(CodecError) {
    if text == "auto" {
      self = .automatic
      return
    }
    do throws(CodecError) { self = .fixed(try CodecChoice(parsing: text)) } catch {
      guard case .unknown(let name, let known) = error else { throw error }
      throw .unknown(name: name, known: ["auto"] + known)
    }
  }

  /// Everything that a frame may be encoded with.
  public var choices: [CodecChoice] {
    switch self {
    case .fixed(let choice): [choice]
    case .automatic: AdaptiveChooser.ladder.map { $0.choice }
    }
  }

  /// The codecs' numbers, each once.
  public var tags: [CodecTag] {
    choices.map { $0.tag }.reduce(into: []) { tags, tag in if !tags.contains(tag) { tags.append(tag) } }
  }

  public var description: String {
    switch self {
    case .fixed(let choice): choice.description
    case .automatic: "auto"
    }
  }
}
