// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Control
import FoundationEssentials
import PageFerry
import QEMUBridge
import Telemetry

/// One half of a proxy pair, as the command runs it.
protocol ProxyHalf: Controllable {
  /// The migration's name, and who is at the other end; nil before that is known.
  var label: (session: String, peer: String)? { get }
  /// Nil where there are none.
  var shownSettings: MigrationSettings? { get }
  var summary: MigrationReport { get }
  func run() -> [RelayReport]
}

extension RelayDeparture: ProxyHalf {
  var label: (session: String, peer: String)? { (name, statistics.peer) }
  var shownSettings: MigrationSettings? { settings }
}

extension RelayDestination: ProxyHalf {
  var label: (session: String, peer: String)? { name.map { ($0, statistics.peer) } }
  var shownSettings: MigrationSettings? { nil }
}

/// Runs one half of a proxy pair under signals, prints what it has done, and ends the process with its exit code.
enum ProxyOutcome {
  /// What both halves are told by.
  struct Options {
    let common: CommonOptions
    let telemetry: TelemetryOptions
    let control: ControlOptions
    let insecure: Bool
  }

  /// - Parameter title: the screen's first line.
  static func of(_ half: some ProxyHalf, title: String, _ options: Options) throws {
    let socket = try options.control.socket()
    defer { socket?.finish(nil) }
    let quiet = options.common.quiet
    Outcome.onTermination { half.cancel($0) }
    let watching = try options.telemetry.start(
      .init(name: { half.label }, statistics: { half.statistics }, settings: { half.shownSettings }),
      insecure: options.insecure, quiet: quiet)
    defer { watching?.stop() }
    socket?.start(half)
    let screen = ProxyScreen(title: title) { (half.statistics, half.shownSettings) }
    if !quiet { screen.start() }
    let reports = half.run()
    screen.stop()
    socket?.finish(half.summary)
    watching?.finish()
    if options.common.json {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
      print(String(decoding: try encoder.encode(reports), as: UTF8.self))
    } else {
      for report in reports where report.failure == nil { print(text(report)) }
    }
    if let failed = reports.first(where: { $0.failure != nil }) { throw Outcome.exit(failed) }
  }

  /// What a connection's stream took, for people.
  static func text(_ report: RelayReport) -> String {
    let seconds = "\(Decimal.fixed(report.seconds, digits: 2)) s"
    var lines = [
      "migrated in \(seconds): \(ByteCount.format(report.streamBytes)) of QEMU's stream, "
        + "\(ByteCount.format(report.wireBytes)) on the wire"
    ]
    switch report.mode {
    case .verbatim: lines.append("  passed on as it was")
    case .pages, .direct:
      let pages = report.pages
      var kinds = [("data", pages.data), ("delta", pages.delta), ("zero", pages.zero), ("unchanged", pages.unchanged)]
      if report.role == .source { kinds.append(("overtaken", pages.superseded)) }
      lines.append(
        "  pages: " + kinds.filter { $0.1 > 0 }.map { "\($0.0) \($0.1)" }.joined(separator: ", ")
          + (report.mode == .direct ? "; straight into QEMU's memory" : ""))
      if report.role == .source {
        lines.append("  at most \(ByteCount.format(UInt64(report.highestWindowBytes))) under way")
      }
    }
    return lines.joined(separator: "\n")
  }
}

extension Outcome {
  /// What a report that is not of a completed relay ends with: one line, and its exit code.
  static func exit(_ report: RelayReport) -> ExitCode {
    exit(
      code: report.failure?.code ?? FailureCode.internal.rawValue, reason: report.failure?.reason ?? "",
      phase: report.phase)
  }
}
