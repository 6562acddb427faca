// SPDX-License-Identifier: Apache-2.0
import PageFerry
import Workload

/// Shows a demo while it runs: one screen, redrawn, on a terminal; a line every two seconds elsewhere; an object a
/// second with `--json`.
final class DemoScreen: Sendable {
  typealias Reading = @Sendable () -> (MigrationStatistics, WorkloadStatistics)

  private let ticker: Ticker
  private let console: Console

  /// - Parameter downtimeLimit: in ms.
  init(
    title: String, downtimeLimit: Double, json: Bool, console: Console = .shared, reading read: @escaping Reading
  ) {
    self.console = console
    ticker = Ticker(every: json ? 1_000_000_000 : console.isTerminal ? 200_000_000 : 2_000_000_000) {
      let (now, guest) = read()
      if json {
        if let line = try? ReportTable.line(now) { Console.output(line) }
      } else if console.isTerminal {
        console.showScreen(Self.lines(now, guest, title: title, downtimeLimit: downtimeLimit))
      } else {
        console.print(ProgressDisplay.line(now) + "  guest writes \(Self.rate(guest.pagesPerSecond))")
      }
    }
  }

  func start() { ticker.start() }

  func stop() {
    ticker.stop()
    console.clearProgress()
  }

  // MARK: The screen

  private static func lines(
    _ now: MigrationStatistics, _ guest: WorkloadStatistics, title: String, downtimeLimit: Double
  ) -> [String] {
    let pages = now.pages
    var rows: [(String, String)] = [
      ("", title),
      ("phase", "\(now.status.rawValue)\(iteration(now))   \(Decimal.fixed(now.totalTime / 1000, digits: 1)) s"),
      ("memory", bar(now.bulkFraction)),
      (
        "wire",
        "\(ByteCount.format(now.ram.mbps * 1e6 / 8))/s, \(ByteCount.format(now.ram.transferred)) so far, "
          + "\(now.ram.remaining.map { ByteCount.format($0) } ?? "–") of memory to go"
      ),
      (
        "guest",
        "writes \(rate(guest.pagesPerSecond))"
          + (now.ram.dirtySyncCount > 0 ? ", the last sync saw \(rate(now.ram.dirtyPagesRate))" : "")
      ),
      ("pages", "zero \(pages.zero)  data \(pages.data)  delta \(pages.delta)"),
      ("", "unchanged \(pages.unchanged)  deferred \(pages.deferred)  not read \(pages.notRead)"),
    ]
    if let use = now.xbzrleCache {
      let size = ByteCount.format(UInt64(use.cacheSize))
      rows.append(
        (
          "deltas",
          use.hits + use.cacheMiss == 0
            ? "cache \(size)"
            : "cache \(size), hits \(Decimal.fixed((1 - use.cacheMissRate) * 100, digits: 1)) %, "
              + "\(ByteCount.format(use.bytes)) for \(use.pages) pages, \(use.overflow) too long"
        ))
    }
    rows.append(("codec", now.codecsInUse.isEmpty ? "–" : now.codecsInUse))
    rows.append(("lanes", now.lanes.map(share).joined(separator: "   ")))
    rows.append(
      (
        "downtime",
        now.expectedDowntime.map {
          "\(Decimal.fixed($0, digits: 1)) ms expected, \(Decimal.fixed(downtimeLimit, digits: 0)) ms allowed"
        } ?? "not known yet, \(Decimal.fixed(downtimeLimit, digits: 0)) ms allowed"
      ))
    if let convergence = now.convergence {
      let throttle = now.throttlePercentage ?? 0
      rows.append(
        (
          "throttle",
          "\(throttle) % now, \(Decimal.fixed(convergence.meanThrottle, digits: 0)) % so far"
            + (convergence.isPaused ? ", the guest is paused by order" : "")
            + (convergence.holds ? ", held: it stays here until it is released" : "")
        ))
      rows.append(("verdict", convergence.advice))
    }
    return rows.map { name, value in
      name.isEmpty && value == title ? value : name + String(repeating: " ", count: 10 - name.count) + value
    }
  }

  private static func iteration(_ now: MigrationStatistics) -> String {
    guard let iteration = now.iteration else { return "" }
    return ", iteration \(iteration.iteration) (\(iteration.pendingPages) pages)"
  }

  private static func bar(_ fraction: Double) -> String {
    let width = 40
    let filled = Int(fraction * Double(width))
    return "[\(String(repeating: "#", count: filled))\(String(repeating: ".", count: width - filled))] "
      + "\(Int(fraction * 100)) %"
  }

  private static func rate(_ pagesPerSecond: Double) -> String {
    "\(Int(pagesPerSecond)) pages/s (\(Decimal.fixed(pagesPerSecond * 4096 / 1e6, digits: 0)) MB/s)"
  }

  /// `reading 12 % encoding 60 % waiting 20 %`
  static func share(_ use: MigrationStatistics.LaneUse) -> String {
    func percent(_ share: Double) -> String { "\(Int((min(1, share) * 100).rounded())) %" }
    return "reading \(percent(use.reading)) encoding \(percent(use.encoding)) waiting \(percent(use.blocked))"
  }
}
