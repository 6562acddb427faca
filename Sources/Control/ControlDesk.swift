// SPDX-License-Identifier: Apache-2.0
import Migration

/// Answers requests: a line in, a line out. Whatever the line is, it is answered, and nothing here waits.
struct ControlDesk {
  let target: any Controllable
  /// Of the program.
  let version: String

  /// What a caller who watches has asked for.
  struct Watch: Equatable {
    /// Nanoseconds between two events.
    var interval: UInt64
    /// On the monotonic clock.
    var nextAt: UInt64 = 0
  }

  struct Reply {
    var line: [UInt8]
    /// From now on.
    var watch: Watch?
  }

  /// Answers a line, which is without its end.
  func reply(to line: [UInt8]) -> Reply {
    let request: JSONValue
    do { request = try ControlLine.decode(JSONValue.self, line) } catch {
      return Reply(line: Self.refusal(.init(.badJSON, "the line is no JSON that this takes")))
    }
    guard case .object(let members) = request, case .string(let name)? = members["command"] else {
      var id: JSONValue?
      if case .object(let members) = request { id = members["id"] }
      return Reply(
        line: Self.refusal(.init(.badRequest, #"a request is an object with a command: {"command":"status"}"#), id: id))
    }
    let id = members["id"]
    do throws(ControlRefusal) {
      guard let command = ControlCommand(rawValue: name) else {
        throw ControlRefusal(
          .unknownCommand,
          "'\(name.printable)' is no command; there are "
            + ControlCommand.allCases.map { $0.rawValue }.joined(separator: ", "))
      }
      return try carryOut(command, Self.arguments(of: members, command), id: id)
    } catch { return Reply(line: Self.refusal(error, id: id)) }
  }

  private static func arguments(
    of members: [String: JSONValue], _ command: ControlCommand
  ) throws(ControlRefusal) -> [String: JSONValue] {
    switch members["arguments"] ?? .null {
    case .null: return [:]
    case .object(let arguments):
      if command != .set, let other = arguments.keys.sorted().first(where: { command.arguments[$0] == nil }) {
        throw ControlRefusal(.badArgument, "'\(command.rawValue)' takes no argument '\(other.printable)'")
      }
      return arguments
    default: throw ControlRefusal(.badArgument, "'arguments' is an object")
    }
  }

  private func carryOut(
    _ command: ControlCommand, _ arguments: [String: JSONValue], id: JSONValue?
  ) throws(ControlRefusal) -> Reply {
    switch command {
    case .status: return Reply(line: Self.answer(status, id: id))
    case .watch:
      let watch = try watch(arguments)
      return Reply(line: Self.answer(["interval": Double(watch.interval) / 1e9], id: id), watch: watch)
    case .set:
      try set(arguments)
      return Reply(line: Self.answer(["settings": settings], id: id))
    case .cancel: try cancel(arguments)
    case .help: return Reply(line: Self.answer(ControlHelp { target.absence(ofSetting: $0) == nil }, id: id))
    case .version: return Reply(line: Self.answer(greeting, id: id))
    case .pause, .resume, .complete, .hold, .release:
      guard let order = command.order else { break }
      do throws(SettingError) { try target.order(order) } catch {
        throw ControlRefusal(.notNow, error.reason)
      }
    }
    return Reply(line: Self.answer([String: JSONValue](), id: id))
  }

  private func watch(_ arguments: [String: JSONValue]) throws(ControlRefusal) -> Watch {
    let seconds: Double
    switch arguments["interval"] ?? .integer(1) {
    case .integer(let value): seconds = Double(value)
    case .number(let value): seconds = value
    default: seconds = 0
    }
    guard (0.05...3600).contains(seconds) else {
      throw ControlRefusal(.badArgument, "interval: takes 0.05 to 3600 seconds")
    }
    return Watch(interval: UInt64(seconds * 1e9))
  }

  private func set(_ arguments: [String: JSONValue]) throws(ControlRefusal) {
    guard !arguments.isEmpty else { throw ControlRefusal(.badArgument, "'set' takes at least one setting") }
    for name in arguments.keys.sorted() {
      if let reason = target.absence(ofSetting: name) { throw ControlRefusal(.badArgument, reason) }
    }
    let change: Knob.Change
    do throws(SettingError) { change = try Knob.change(arguments) } catch {
      throw ControlRefusal(.badArgument, error.reason)
    }
    try checkNotOver("set")
    do throws(SettingError) { try target.change { change(&$0) } } catch {
      throw ControlRefusal(.badArgument, error.reason)
    }
  }

  private func cancel(_ arguments: [String: JSONValue]) throws(ControlRefusal) {
    var reason = "cancelled by the operator"
    switch arguments["reason"] ?? .null {
    case .null: break
    case .string(let given): reason = given.printable
    default: throw ControlRefusal(.badArgument, "reason: takes a text")
    }
    try checkNotOver("cancel")
    target.cancel(reason)
  }

  /// Once the destination has the guest, or nobody moves it any more, there is nothing left to steer.
  private func checkNotOver(_ what: String) throws(ControlRefusal) {
    let phase = target.statistics.status
    guard phase == .commit || phase.isFinal else { return }
    throw ControlRefusal(.notNow, "\(what): too late, the migration is in phase '\(phase.rawValue)'")
  }

  // MARK: Lines

  private var greeting: ControlGreeting { .init(pageferry: version, protocol: ControlProtocol.version) }

  private var status: ControlStatus {
    ControlStatus(statistics: target.statistics, settings: settings)
  }

  /// Those that there are.
  private var settings: [String: JSONValue] {
    Knob.values(target.settings).filter { target.absence(ofSetting: $0.key) == nil }
  }

  var greetingLine: [UInt8] { Self.line(greeting) }

  var statusEvent: [UInt8] { Self.line(ControlEvent.status(status)) }

  static func endEvent(_ report: MigrationReport?) -> [UInt8] { line(ControlEvent.end(report)) }

  static func refusal(_ refusal: ControlRefusal, id: JSONValue? = nil) -> [UInt8] {
    line(ControlAnswer<JSONValue>(id: id, ok: false, error: refusal))
  }

  private static func answer(_ result: some Encodable, id: JSONValue?) -> [UInt8] {
    line(ControlAnswer(id: id, result: result))
  }

  private static func line(_ value: some Encodable) -> [UInt8] {
    if let line = try? ControlLine.encode(value) { return line }
    return Array(#"{"ok":false,"error":{"code":"internal-error","message":"the answer cannot be said in JSON"}}"#.utf8)
      + [UInt8(ascii: "\n")]
  }
}

/// The answer to `help`.
public struct ControlHelp: Sendable, Codable {
  public struct Command: Sendable, Codable {
    public var name: String
    public var meaning: String
    public var arguments: [String: String]
  }

  public struct Setting: Sendable, Codable {
    public var name: String
    public var takes: String
    public var meaning: String
  }

  public var commands = ControlCommand.allCases.map {
    Command(name: $0.rawValue, meaning: $0.meaning, arguments: $0.arguments)
  }
  public var settings: [Setting]

  /// - Parameter has: whether there is a setting of that name.
  init(_ has: (String) -> Bool) {
    settings = Knob.all.filter { has($0.name) }.map { Setting(name: $0.name, takes: $0.takes, meaning: $0.meaning) }
  }
}
