// SPDX-License-Identifier: Apache-2.0
public import Migration
public import Transport

/// Why the control connection of a benchmark ended, or a line of it was refused.
public enum BenchError: Error, Equatable, Sendable, CustomStringConvertible {
  case transport(TransportError)
  /// The stream ended within a line, or between two.
  case closed
  case lineTooLong(allowed: Int)
  /// Not an object of this protocol at all.
  case foreign
  case version(found: Int, supported: Int)
  /// An object of this protocol that says something else than it may.
  case malformed(reason: String)
  case outOfRange(field: String, found: String, allowed: String)
  case unexpected(found: String, expected: String)
  /// The peer's own words.
  case refused(code: Int, reason: String)

  public var description: String {
    switch self {
    case .transport(let error): "\(error)"
    case .closed: "the peer closed the connection"
    case .lineTooLong(let allowed): "a line of more than \(allowed) bytes"
    case .foreign: "what it says is not pageferry bench's protocol"
    case .version(let found, let supported):
      "it speaks version \(found) of the bench protocol, this side version \(supported): use the same pageferry on both"
    case .malformed(let reason): "a line that says nothing: \(reason)"
    case .outOfRange(let field, let found, let allowed): "\(field) is \(found); \(allowed) is possible"
    case .unexpected(let found, let expected): "it says '\(found)' where '\(expected)' belongs"
    case .refused(_, let reason): "it says: \(reason)"
    }
  }
}

extension MigrationFailure {
  /// What ended a benchmark, with the exit code that a migration would have.
  public init(bench error: BenchError, peer: String) {
    let code: FailureCode =
      switch error {
      case .transport(.stopped), .transport(.closedByPeer), .transport(.timedOut), .transport(.failed), .closed:
        .peerLost
      case .transport(.cannotListen): .cannotListen
      case .transport(.badOption): .optionRefused
      case .transport: .peerAbsent
      case .foreign, .lineTooLong: .notPageFerry
      case .version: .versionMismatch
      case .malformed, .outOfRange, .unexpected: .protocolViolation
      case .refused(let code, _): UInt16(exactly: code).flatMap { FailureCode(rawValue: $0) } ?? .refused
      }
    if case .refused = error {
      self.init(code, "\(peer): \(error)", isFromPeer: true)
    } else if case .transport(let error) = error, code != .peerLost {
      self.init(code, "\(error)")
    } else {
      self.init(code, "\(peer): \(error)")
    }
  }
}

/// What a peer says, for a terminal and a file.
enum Printable {
  static let characterCountMax = 300

  /// Without control characters, which could rewrite a terminal, and of bounded length.
  static func text(_ text: String) -> String {
    let scalars = text.unicodeScalars.lazy.prefix(characterCountMax).map { scalar -> Unicode.Scalar in
      switch scalar.properties.generalCategory {
      case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator: " "
      default: scalar
      }
    }
    return String(String.UnicodeScalarView(scalars))
  }
}
