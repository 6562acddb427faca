// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials

// The conversation, a line of JSON each: {"pageferry-bench":1,"ping":{"number":3}}
//
//   client                                  server
//   hello ────────────────────────────────▶
//         ◀──────────────────────────────── welcome (or refused, and the end)
//   ping  ────────────────────────────────▶           any number of times
//         ◀──────────────────────────────── pong
//   link  ────────────────────────────────▶           once for each number of streams
//         ◀──────────────────────────────── ready     a port and a token
//   … streams connect, each with the token …
//         ◀──────────────────────────────── attached  now the client sends, then closes the streams
//         ◀──────────────────────────────── linked
//   host  ────────────────────────────────▶
//         ◀──────────────────────────────── measured
//   cell  ────────────────────────────────▶           once for each migration
//         ◀──────────────────────────────── ready     a port; the migration goes there
//         ◀──────────────────────────────── received
//   bye   ────────────────────────────────▶
//
// The client asks, the server answers; whoever has nothing to say any more closes the connection.

/// One line of a benchmark's control connection.
public enum BenchMessage: Sendable, Equatable {
  case hello(Introduction)
  case ping(Count)
  case link(LinkRequest)
  case host(HostRequest)
  case cell(CellRequest)
  case bye(Nothing)

  case welcome(Introduction)
  case pong(Count)
  case ready(Ready)
  case attached(Nothing)
  case linked(LinkReceipt)
  case measured(HostFigures)
  case received(DestinationFigures)
  case refused(Refusal)

  /// A message that is its own name.
  public struct Nothing: Sendable, Equatable, Codable { public init() {} }

  public struct Count: Sendable, Equatable, Codable { public var number: UInt32 }

  /// Who is there, and what it will do.
  public struct Introduction: Sendable, Equatable, Codable {
    public var host: HostDescription
    /// Of a server: most bytes that it reserves for a client.
    public var memoryLimit: UInt64?
  }

  /// Where the next connections go.
  public struct Ready: Sendable, Equatable, Codable {
    public var port: UInt16
    /// What a stream says first.
    public var token: String
  }

  public struct Refusal: Sendable, Equatable, Codable {
    /// An exit code.
    public var code: Int
    public var reason: String
  }

  /// A test of the link: `streams` connections, and bytes for `seconds`.
  public struct LinkRequest: Sendable, Equatable, Codable {
    public var streams: Int
    public var seconds: Double
  }

  /// A measurement of the server's host, with content from mix and seed.
  public struct HostRequest: Sendable, Equatable, Codable {
    public var codecs: [String]
    public var mix: String
    public var seed: UInt64
    /// Bytes that it may use.
    public var memory: UInt64
    /// CPU time for either direction of each codec.
    public var seconds: Double
  }

  /// One migration.
  public struct CellRequest: Sendable, Equatable, Codable {
    public var memory: UInt64
    /// Bytes for what the codec remembers.
    public var history: UInt64
    public var channels: Int
    public var lanes: Int
    /// Whether the guest runs.
    public var runs: Bool
    /// After this it is over, one way or another.
    public var seconds: Double
  }
}

extension BenchMessage: Codable {
  private enum Key: String, CodingKey, CaseIterable {
    case version = "pageferry-bench"
    case hello, ping, link, host, cell, bye
    case welcome, pong, ready, attached, linked, measured, received, refused
  }

  /// What it is, for people.
  public var name: String { key.rawValue }

  private var key: Key {
    switch self {
    case .hello: .hello
    case .ping: .ping
    case .link: .link
    case .host: .host
    case .cell: .cell
    case .bye: .bye
    case .welcome: .welcome
    case .pong: .pong
    case .ready: .ready
    case .attached: .attached
    case .linked: .linked
    case .measured: .measured
    case .received: .received
    case .refused: .refused
    }
  }

  private var content: any Encodable {
    switch self {
    case .hello(let content), .welcome(let content): content
    case .ping(let content), .pong(let content): content
    case .link(let content): content
    case .host(let content): content
    case .cell(let content): content
    case .bye(let content), .attached(let content): content
    case .ready(let content): content
    case .linked(let content): content
    case .measured(let content): content
    case .received(let content): content
    case .refused(let content): content
    }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Key.self)
    try container.encode(Limits.version, forKey: .version)
    try container.encode(content, forKey: key)
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: Key.self)
    guard let version = try container.decodeIfPresent(Int.self, forKey: .version) else { throw BenchError.foreign }
    guard version == Limits.version else {
      throw BenchError.version(found: version, supported: Limits.version)
    }
    let said = container.allKeys.filter { $0 != .version }
    guard said.count == 1, let key = said.first else {
      throw BenchError.malformed(reason: said.isEmpty ? "no known message" : "two messages in one line")
    }
    func decode<Content: Decodable>(_ type: Content.Type) throws -> Content {
      try container.decode(type, forKey: key)
    }
    switch key {
    case .version: throw BenchError.foreign
    case .hello: self = .hello(try decode(Introduction.self))
    case .ping: self = .ping(try decode(Count.self))
    case .link: self = .link(try decode(LinkRequest.self))
    case .host: self = .host(try decode(HostRequest.self))
    case .cell: self = .cell(try decode(CellRequest.self))
    case .bye: self = .bye(try decode(Nothing.self))
    case .welcome: self = .welcome(try decode(Introduction.self))
    case .pong: self = .pong(try decode(Count.self))
    case .ready: self = .ready(try decode(Ready.self))
    case .attached: self = .attached(try decode(Nothing.self))
    case .linked: self = .linked(try decode(LinkReceipt.self))
    case .measured: self = .measured(try decode(HostFigures.self))
    case .received: self = .received(try decode(DestinationFigures.self))
    case .refused: self = .refused(try decode(Refusal.self))
    }
  }
}

// MARK: - Bytes

extension BenchMessage {
  /// The line, with its end.
  public var line: [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    // What is not a number has no place in JSON; a figure that could not be measured is zero.
    encoder.nonConformingFloatEncodingStrategy = .throw
    guard let data = try? encoder.encode(self) else { preconditionFailure("a message with a figure that is none") }
    return Array(data) + [UInt8(ascii: "\n")]
  }

  /// Reads a line, which may be anything, without its end.
  /// - Throws: ``BenchError`` unless it is a message of this version whose every value is one that may be used.
  public init(line: [UInt8]) throws(BenchError) {
    guard line.count <= Limits.lineByteCount else { throw .lineTooLong(allowed: Limits.lineByteCount) }
    // Cheaper than to have a parser say so, and it is what strangers of other protocols meet.
    guard line.first == UInt8(ascii: "{") else { throw .foreign }
    do { self = try JSONDecoder().decode(BenchMessage.self, from: Data(line)) } catch {
      // What does not even name the protocol is not a mistake in it.
      guard String(decoding: line, as: UTF8.self).contains("\"pageferry-bench\"") else { throw .foreign }
      throw Self.reason(error)
    }
    try check()
  }

  private static func reason(_ error: any Error) -> BenchError {
    switch error {
    case let error as BenchError: return error
    case DecodingError.dataCorrupted(let context) where context.codingPath.isEmpty:
      return .malformed(reason: "not JSON, or a number out of range")
    case DecodingError.keyNotFound(let key, _):
      return .malformed(reason: "'\(Printable.text(key.stringValue))' is missing")
    case DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context),
      DecodingError.dataCorrupted(let context):
      let place = context.codingPath.map { $0.stringValue }.joined(separator: ".")
      return .malformed(reason: "'\(Printable.text(place))' is not what belongs there")
    default: return .foreign
    }
  }
}
