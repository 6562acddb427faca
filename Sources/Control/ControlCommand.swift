// SPDX-License-Identifier: Apache-2.0
import Migration

/// What can be asked of a control socket.
public enum ControlCommand: String, Sendable, CaseIterable {
  case status, watch, set, pause, resume, complete, cancel, hold, release, help, version

  public var meaning: String {
    switch self {
    case .status: "where the migration stands, and all settings"
    case .watch: "the same again and again, until the migration is over"
    case .set: "change settings: all of them, or none if one is wrong"
    case .pause: "pause the guest here; its memory goes on being sent, and it is handed over"
    case .resume: "let a guest run on that was paused"
    case .complete: "hand the guest over at once, whatever is left"
    case .cancel: "end the migration; the guest runs on here"
    case .hold: "keep the guest here although it could be handed over"
    case .release: "hand it over as soon as what is left fits"
    case .help: "commands and settings"
    case .version: "version of program and protocol"
    }
  }

  /// Arguments by name, with what they are.
  public var arguments: [String: String] {
    switch self {
    case .watch: ["interval": "seconds between two, 0.05 to 3600; 1 if absent"]
    case .set: ["NAME": "the new value of a setting"]
    case .cancel: ["reason": "for both sides' logs"]
    default: [:]
    }
  }

  /// What it orders the migration to do.
  var order: MigrationOrder? { MigrationOrder(rawValue: rawValue) }
}

/// Why a request was not carried out.
public enum ControlErrorCode: String, Sendable, Codable, CaseIterable {
  case badJSON = "bad-json"
  /// JSON, but no object with a command.
  case badRequest = "bad-request"
  case unknownCommand = "unknown-command"
  case badArgument = "bad-argument"
  /// The migration cannot do that, or not any more, or not yet.
  case notNow = "not-now"
  case lineTooLong = "line-too-long"
  case tooManyClients = "too-many-clients"
  case notAllowed = "not-allowed"
  case internalError = "internal-error"
}

/// A refusal: a code for programs, a line for people.
public struct ControlRefusal: Error, Sendable, Codable, Equatable, CustomStringConvertible {
  public let code: ControlErrorCode
  public let message: String

  init(_ code: ControlErrorCode, _ message: String) {
    self.code = code
    self.message = message
  }

  public var description: String { message }
}
