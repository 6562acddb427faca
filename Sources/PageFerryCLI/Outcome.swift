// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Control
import Glibc
import HostSystem
import PageFerry
import Synchronization

/// Runs a session under signals and a display, prints its report, and ends the process with its exit code.
enum Outcome {
  private static let signalNumber = Atomic<CInt>(0)

  /// - Parameters:
  ///   - run: the session's blocking call.
  ///   - cancel: asks it to end.
  ///   - watch: begins to export what happens.
  static func of(
    _ options: CommonOptions, statistics: @escaping @Sendable () -> MigrationStatistics,
    cancel: @escaping @Sendable (String) -> Void, watch: () throws -> RunningTelemetry? = { nil },
    run: () -> MigrationReport
  ) throws {
    onTermination(cancel)
    let watching = try watch()
    defer { watching?.stop() }
    let display = ProgressDisplay(reading: statistics)
    if !options.quiet { display.start() }
    let report = run()
    display.stop()
    watching?.finish()
    if options.json {
      print(try ReportTable.json(report))
    } else if report.failure == nil {
      print(ReportTable.text(report))
    }
    if report.failure != nil { throw exit(report) }
  }

  /// What a report that is not of a completed migration ends with: one line, and its exit code.
  static func exit(_ report: MigrationReport) -> ExitCode {
    exit(
      code: report.failure?.code ?? FailureCode.internal.rawValue, reason: report.failure?.reason ?? "",
      phase: report.outcome)
  }

  /// A failure before there was a session: one line, and its exit code.
  static func exit(_ failure: MigrationFailure) -> ExitCode {
    exit(code: failure.code.rawValue, reason: failure.reason, phase: .failed)
  }

  static func exit(code: UInt16, reason: String, phase: Phase) -> ExitCode {
    Console.shared.print("pageferry: \(phase.rawValue): \(reason)")
    let number = signalNumber.load(ordering: .relaxed)
    if code == FailureCode.cancelled.rawValue, number != 0 { return ExitCode(128 + number) }
    return ExitCode(CInt(code))
  }

  /// Ends the process at once, when a signal came before there was anything to cancel.
  static func leave() {
    ControlSocket.removeFiles()
    _exit(128 + signalNumber.load(ordering: .relaxed))
  }

  /// Has SIGINT, SIGTERM and SIGHUP cancel the migration; the second one ends the process.
  static func onTermination(_ cancel: @escaping @Sendable (String) -> Void) {
    SignalWatcher.start { number in
      let first = signalNumber.exchange(number, ordering: .relaxed) == 0
      // Whoever asks twice does not want to wait.
      if !first { leave() }
      let name = number == SIGINT ? "SIGINT" : number == SIGTERM ? "SIGTERM" : "SIGHUP"
      cancel("cancelled by \(name)")
    }
  }
}
