// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
public import Migration

/// The version of the protocol, of which docs/CONTROL.md says what it is. It changes when something changes its meaning or
/// goes; commands, arguments and fields may be added without it.
public enum ControlProtocol {
  public static let version = 1
  /// Bytes in a line of a request, at most, without its end.
  public static let lineByteCountMax = 64 << 10
}

/// The first line of every connection.
public struct ControlGreeting: Sendable, Codable, Equatable {
  /// Version of the program.
  public var pageferry: String
  public var `protocol`: Int
}

/// An answer. `id` is the request's, absent if that had none.
struct ControlAnswer<Result> {
  var id: JSONValue?
  var ok = true
  var result: Result?
  var error: ControlRefusal?
}

extension ControlAnswer: Encodable where Result: Encodable {}
extension ControlAnswer: Decodable where Result: Decodable {}

/// Lines that come without being asked for, after `watch`.
public enum ControlEvent: Sendable, Codable {
  case status(ControlStatus)
  /// The last line. Without a report the migration ended before it began.
  case end(MigrationReport?)

  private enum CodingKeys: String, CodingKey { case event, status, report }
  private enum Kind: String, Codable { case status, end }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    switch try container.decode(Kind.self, forKey: .event) {
    case .status: self = .status(try container.decode(ControlStatus.self, forKey: .status))
    case .end: self = .end(try container.decodeIfPresent(MigrationReport.self, forKey: .report))
    }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    switch self {
    case .status(let status):
      try container.encode(Kind.status, forKey: .event)
      try container.encode(status, forKey: .status)
    case .end(let report):
      try container.encode(Kind.end, forKey: .event)
      try container.encode(report, forKey: .report)
    }
  }
}

/// Lines of JSON.
enum ControlLine {
  private static let (infinity, minusInfinity, noNumber) = ("inf", "-inf", "nan")

  /// A value as a line with its end.
  static func encode(_ value: some Encodable) throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    // A rate that is none must not cost an operator the rest of the answer.
    encoder.nonConformingFloatEncodingStrategy = .convertToString(
      positiveInfinity: infinity, negativeInfinity: minusInfinity, nan: noNumber)
    return try Array(encoder.encode(value)) + [UInt8(ascii: "\n")]
  }

  /// Reads a line without its end.
  static func decode<Value: Decodable>(_ type: Value.Type, _ line: [UInt8]) throws -> Value {
    let decoder = JSONDecoder()
    decoder.nonConformingFloatDecodingStrategy = .convertFromString(
      positiveInfinity: infinity, negativeInfinity: minusInfinity, nan: noNumber)
    return try decoder.decode(type, from: Data(line))
  }
}
