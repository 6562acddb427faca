// SPDX-License-Identifier: Apache-2.0
import Control
import PageFerry

/// `pageferry ctl SOCKET watch`: one screen, redrawn, on a terminal; a line for each look elsewhere; with `--json` what
/// the socket says.
struct ControlWatch {
  /// Seconds.
  let interval: Double
  let json: Bool

  /// Watches until the migration is over.
  /// - Returns: its exit code.
  func run(_ client: ControlClient) throws(ControlClientError) -> Int32 {
    _ = try client.ask(.watch, ["interval": .number(interval)], as: [String: JSONValue].self)
    while true {
      let event = try client.nextEvent()
      if json, let line = try? ReportTable.line(event) { Console.output(line) }
      switch event {
      case .status(let status): if !json { show(status) }
      case .end(let report):
        Console.shared.clearProgress()
        guard let report else { throw .broken("the migration ended before it began") }
        if !json { Console.output(Self.end(report)) }
        return report.failure.map { Int32($0.code) } ?? 0
      }
    }
  }

  private func show(_ status: ControlStatus) {
    if Console.shared.isTerminal {
      Console.shared.showScreen(JobInfo(status).lines(withSettings: false))
    } else {
      Console.output(Self.line(status.statistics))
    }
  }

  /// The line of `send`, and what only a guest that runs has.
  private static func line(_ now: MigrationStatistics) -> String {
    let line = ProgressDisplay.line(now)
    guard let live = now.convergence else { return line }
    return line + "  throttle \(now.throttlePercentage ?? 0) %  \(live.advice)"
  }

  private static func end(_ report: MigrationReport) -> String {
    let seconds = Decimal.fixed(report.seconds.total, digits: 1)
    let downtime = report.live?.downtime.map { ", downtime \(Decimal.fixed($0.milliseconds, digits: 1)) ms" } ?? ""
    let reason = report.failure.map { ": \($0.reason)" } ?? ""
    return "\(report.outcome.rawValue) after \(seconds) s\(downtime)\(reason)"
  }
}
