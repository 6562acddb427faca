// SPDX-License-Identifier: Apache-2.0
public import ArgumentParser
public import Control
import HostSystem
import PageFerry

/// `pageferry ctl`.
struct ControlCommandLine: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ctl", abstract: "Watch and steer a migration while it runs.",
    discussion: """
      SOCKET is what 'demo', 'send' or 'proxy' was given with --control. Commands:

      \(table(ControlCommand.allCases.filter { $0 != .help }.map { ($0.rawValue, $0.meaning) }))

      'set' takes any of these, as NAME=VALUE, several at once; if one is wrong, none is changed:

      \(table(Knob.all.map { ($0.name, "\($0.meaning) [\($0.takes)]") }))

      Exit codes: 0 done; \(ControlExit.allCases.map { "\($0.rawValue) \($0.meaning.dropFirst(5))" }.joined(separator: "; ")). \
      'watch' ends with the migration's own exit code. docs/CONTROL.md has the protocol.
      """)

  @Argument(help: "The control socket's path.")
  var socket: String

  @Argument(help: ArgumentHelp("What to do.", valueName: "command"))
  var command: ControlCommand

  @Argument(help: ArgumentHelp("For 'set': settings and their values.", valueName: "name=value"))
  var settings: [String] = []

  @Option(help: ArgumentHelp("watch: time between two looks.", valueName: "seconds"))
  var interval: Double?

  @Option(help: ArgumentHelp("cancel: for both sides' logs.", valueName: "text"))
  var reason: String?

  @Flag(help: "Print the answer as JSON, a line for each.")
  var json = false

  func validate() throws {
    guard command != .help else { throw ValidationError("'pageferry ctl --help' lists commands and settings.") }
    guard command == .set || settings.isEmpty else {
      throw ValidationError("'\(command.rawValue)' takes no settings: '\(settings[0])'.")
    }
    guard command != .set || !settings.isEmpty else { throw ValidationError("'set' takes at least one NAME=VALUE.") }
    guard interval == nil || command == .watch else { throw ValidationError("--interval is for 'watch'.") }
    guard (0.05...3600).contains(interval ?? 1) else { throw ValidationError("--interval takes 0.05 to 3600 s.") }
    guard reason == nil || command == .cancel else { throw ValidationError("--reason is for 'cancel'.") }
    _ = try values()
  }

  func run() throws {
    let code: Int32
    do throws(ControlClientError) { code = try carryOut() } catch {
      Console.shared.print("pageferry: ctl: \(error)")
      throw ExitCode(ControlExit(error).rawValue)
    }
    if code != 0 { throw ExitCode(code) }
  }

  private func carryOut() throws(ControlClientError) -> Int32 {
    let client = try ControlClient(path: socket)
    switch command {
    case .status:
      let status = try client.ask(.status, as: ControlStatus.self)
      show(status) { JobInfo(status).lines.joined(separator: "\n") }
    case .watch: return try ControlWatch(interval: interval ?? 1, json: json).run(client)
    case .set:
      let values = (try? values()) ?? [:]
      let settings = try client.ask(.set, values, as: [String: [String: JSONValue]].self)["settings"] ?? [:]
      show(settings) {
        Knob.all.filter { values[$0.name] != nil }.map { knob in
          "\(knob.name): \(settings[knob.name].map(knob.printed) ?? "–")"
        }.joined(separator: "\n")
      }
    case .version:
      show(client.greeting) { "pageferry \(client.greeting.pageferry), protocol \(client.greeting.protocol)" }
    case .cancel:
      let arguments = reason.map { ["reason": JSONValue.string($0)] } ?? [:]
      show(try client.ask(.cancel, arguments, as: [String: JSONValue].self))
    case .pause, .resume, .complete, .hold, .release, .help:
      show(try client.ask(command, as: [String: JSONValue].self))
    }
    return 0
  }

  /// Prints an answer for programs, or for people, if there is something to say to them.
  private func show(_ answer: some Encodable, _ text: () -> String? = { nil }) {
    if let text = json ? try? ReportTable.line(answer) : text() { Console.output(text) }
  }

  private func values() throws -> [String: JSONValue] {
    var values: [String: JSONValue] = [:]
    for setting in settings {
      let parts = setting.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard parts.count == 2, !parts[0].isEmpty else {
        throw ValidationError("'\(setting)' is not NAME=VALUE.")
      }
      guard values.updateValue(.string(String(parts[1])), forKey: String(parts[0])) == nil else {
        throw ValidationError("'\(parts[0])' is set twice.")
      }
    }
    return values
  }

  private static func table(_ rows: [(String, String)]) -> String {
    let width = rows.map { $0.0.count }.max() ?? 0
    return rows.map { "  \($0.0)\(String(repeating: " ", count: width - $0.0.count))  \($0.1)" }.joined(separator: "\n")
  }
}

extension ControlCommand: ExpressibleByArgument {}
