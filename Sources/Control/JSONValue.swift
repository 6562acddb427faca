// SPDX-License-Identifier: Apache-2.0

/// Any value that JSON can say.
public enum JSONValue: Sendable, Equatable, Codable {
  case null
  case bool(Bool)
  case integer(Int64)
  case number(Double)
  case string(String)
  case array([JSONValue])
  case object([String: JSONValue])

  /// Values within values, at most: nobody needs more, and each takes room on a stack.
  private static let depthMax = 32

  public init(from decoder: any Decoder) throws {
    guard decoder.codingPath.count <= Self.depthMax else {
      throw DecodingError.dataCorrupted(
        .init(codingPath: [], debugDescription: "more than \(Self.depthMax) values within each other"))
    }
    let container = try decoder.singleValueContainer()
    if container.decodeNil() {
      self = .null
    } else if let value = try? container.decode(Bool.self) {
      self = .bool(value)
    } else if let value = try? container.decode(Int64.self) {
      self = .integer(value)
    } else if let value = try? container.decode(Double.self) {
      self = .number(value)
    } else if let value = try? container.decode(String.self) {
      self = .string(value)
    } else if let value = try? container.decode([JSONValue].self) {
      self = .array(value)
    } else {
      self = .object(try container.decode([String: JSONValue].self))
    }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .null: try container.encodeNil()
    case .bool(let value): try container.encode(value)
    case .integer(let value): try container.encode(value)
    case .number(let value): try container.encode(value)
    case .string(let value): try container.encode(value)
    case .array(let values): try container.encode(values)
    case .object(let members): try container.encode(members)
    }
  }

  /// As a person would type it; nil for what has more than one part.
  public var text: String? {
    switch self {
    case .null: "none"
    case .bool(let value): value ? "on" : "off"
    case .integer(let value): "\(value)"
    // 1e9 is a whole number, however it was written.
    case .number(let value): Int64(exactly: value).map { "\($0)" } ?? "\(value)"
    case .string(let value): value
    case .array, .object: nil
    }
  }
}
