// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import CoreMetrics
import PageFerry
import SystemPackage
import Telemetry

/// How a migration can be watched from outside.
struct TelemetryOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Keep the metrics in this file, for node_exporter's textfile collector; its last state stays "
        + "(docs/METRICS.md).", valueName: "file"))
  var metricsFile: String?

  @Option(
    help: ArgumentHelp(
      "Serve a live page, /metrics (OpenMetrics) and /status.json here: 127.0.0.1:9464.", valueName: "address"),
    transform: Endpoint.init(parsing:))
  var http: Endpoint?

  func validate() throws {
    if case .unix = http { throw ValidationError("--http takes host:port.") }
    guard metricsFile != "" else { throw ValidationError("--metrics-file takes a file's name.") }
  }

  var isWanted: Bool { metricsFile != nil || http != nil }

  /// Begins to watch a migration. Call it after ``Outcome/onTermination(_:)``: its threads must not take the signals.
  /// - Parameter insecure: whether other hosts may read along.
  /// - Throws: an exit code, if the file cannot be written, or the address not be had.
  func start(_ source: Telemetry.Source, insecure: Bool, quiet: Bool) throws -> RunningTelemetry? {
    guard isWanted else { return nil }
    let metrics = OpenMetricsFactory()
    MetricsSystem.bootstrap(metrics)
    Gauge(label: Metric.build.sampleName, dimensions: [("version", PageFerry.version)]).record(1)
    let file = metricsFile.map { MetricsFile(path: $0, metrics: metrics) }
    if let file {
      do throws(Errno) { try file.write() } catch {
        throw Outcome.exit(MigrationFailure(.outputFailed, "cannot write the metrics to '\(file.path)': \(error)"))
      }
    }
    let telemetry = Telemetry(source, file: file)
    let site = LiveSite(telemetry, metrics: metrics)
    var server: WebServer?
    if let http {
      do throws(WebServer.Failure) { server = try site.serve(on: http, abroad: insecure) } catch {
        throw Self.refusal(error)
      }
    }
    telemetry.start()
    if let server, !quiet { Console.shared.print("pageferry: live page on http://\(server.endpoint)/") }
    return RunningTelemetry(telemetry: telemetry, site: site, server: server, path: file?.path)
  }

  private static func refusal(_ failure: WebServer.Failure) -> any Error {
    switch failure {
    case .notLocal(let endpoint):
      ValidationError(
        "--http: \(endpoint) can be reached from other hosts, and whoever connects reads along: listen on 127.0.0.1 "
          + "behind a tunnel, or say --insecure on a network that you trust.")
    case .cannotListen(let endpoint, let reason):
      Outcome.exit(MigrationFailure(.cannotListen, "--http: cannot listen on \(endpoint): \(reason)"))
    }
  }
}

/// What watches a migration.
final class RunningTelemetry {
  private let telemetry: Telemetry
  private let site: LiveSite
  private let server: WebServer?
  private let path: String?

  fileprivate init(telemetry: Telemetry, site: LiveSite, server: WebServer?, path: String?) {
    self.telemetry = telemetry
    self.site = site
    self.server = server
    self.path = path
  }

  /// The migration is over: takes the last sample and writes the file. The server goes on.
  func finish() {
    telemetry.finish()
    if let path, let error = telemetry.fileError {
      Console.shared.print("pageferry: warning: the metrics in '\(path)' are not the last ones: \(error)")
    }
  }

  /// Ends the server, once a page that is open has seen the end.
  func stop() {
    telemetry.finish()
    guard let server else { return }
    site.waitForWatchers()
    server.stop()
  }
}
