// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Synchronization
public import Transport

/// What the server has: the live page, `/metrics`, and `/status.json`.
public final class LiveSite: Sendable {
  private let telemetry: Telemetry
  private let metrics: OpenMetricsFactory
  /// When somebody last looked at a migration that ran, and whether the end was seen.
  private let watchedAt = Atomic<UInt64>(0)
  private let endSeenAt = Atomic<UInt64>(0)

  public init(_ telemetry: Telemetry, metrics: OpenMetricsFactory) {
    self.telemetry = telemetry
    self.metrics = metrics
  }

  /// Serves it.
  /// - Parameter abroad: whether other hosts may read along.
  public func serve(on endpoint: Endpoint, abroad: Bool) throws(WebServer.Failure) -> WebServer {
    try WebServer(endpoint, abroad: abroad) { self.respond($0) }
  }

  /// Waits until a page that is open has shown the end, at most `limit` seconds; not at all if none is open.
  public func waitForWatchers(limit: Double = 1.5) {
    let start = HostClock.now()
    guard start - min(start, watchedAt.load(ordering: .relaxed)) < 3_000_000_000 else { return }
    while Double(HostClock.now() - start) < limit * 1e9, endSeenAt.load(ordering: .relaxed) == 0 {
      HostClock.sleep(nanoseconds: 20_000_000)
    }
    // Until the answer is on its way.
    HostClock.sleep(nanoseconds: 50_000_000)
  }

  func respond(_ request: WebRequest) -> WebResponse {
    switch request.path {
    case "/metrics":
      let format = Self.format(accept: request.accept)
      return WebResponse(status: 200, contentType: format.contentType, body: metrics.text(format))
    case "/", "/status.json":
      guard let status = telemetry.status else { return .plain(503, "Nothing is known yet.") }
      if request.path == "/" {
        return WebResponse(status: 200, contentType: "text/html; charset=utf-8", body: LivePage.html(status))
      }
      noteWatcher(status)
      return WebResponse(status: 200, contentType: "application/json", body: status.json)
    default: return .plain(404, "There are /, /metrics and /status.json.")
    }
  }

  private func noteWatcher(_ status: StatusDocument) {
    if status.page.isOver {
      endSeenAt.store(HostClock.now(), ordering: .relaxed)
    } else {
      watchedAt.store(HostClock.now(), ordering: .relaxed)
    }
  }

  /// OpenMetrics, unless a client asks for the older text and not for this.
  static func format(accept: String) -> MetricFormat {
    accept.contains("text/plain") && !accept.contains("openmetrics") ? .prometheus : .openMetrics
  }
}
