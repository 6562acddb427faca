// SPDX-License-Identifier: Apache-2.0
import PageFerry

/// Shows a running migration: a line that is rewritten five times a second on a terminal, a plain line every two
/// seconds elsewhere.
final class ProgressDisplay: Sendable {
  private let console: Console
  private let ticker: Ticker

  init(console: Console = .shared, reading read: @escaping @Sendable () -> MigrationStatistics) {
    self.console = console
    ticker = Ticker(every: console.isTerminal ? 200_000_000 : 2_000_000_000) { Self.show(read(), on: console) }
  }

  func start() { ticker.start() }

  func stop() {
    ticker.stop()
    console.clearProgress()
  }

  private static func show(_ now: MigrationStatistics, on console: Console) {
    guard !now.peer.isEmpty, !now.status.isFinal else { return }
    if now.status == .setup {
      // Nothing moves yet: on a terminal, say what is being waited for.
      if console.isTerminal { console.showProgress("setup       \(now.peer)") }
    } else if console.isTerminal {
      console.showProgress(line(now))
    } else {
      console.print(line(now))
    }
  }

  /// `active      95 %  wire 96.2 MiB/s  guest 247 MiB/s  zero 0  data 126810  ratio 2.57  zstd:1  ETA 0:01`
  static func line(_ now: MigrationStatistics) -> String {
    if let relay = now.relay { return ProxyScreen.line(now, relay) }
    let percent = Int((now.bulkFraction * 100).rounded(.down))
    let data = Double(now.ram.normalBytes)
    let wire = Double(now.ram.transferred)
    let codec = now.codecsInUse
    return [
      "\(now.status.rawValue)\(String(repeating: " ", count: max(0, 10 - now.status.rawValue.count)))",
      "\(percent < 10 ? "  " : percent < 100 ? " " : "")\(percent) %",
      "wire \(ByteCount.format(now.ram.mbps * 1e6 / 8))/s",
      "guest \(ByteCount.format(now.ram.pagesPerSecond * 4096))/s",
      "zero \(now.pages.zero)",
      "data \(now.pages.data)",
      "ratio \(wire > 0 && data > 0 ? Decimal.fixed(data / wire, digits: 2) : "–")"
        + (codec.isEmpty ? "" : "  \(codec)"),
      "ETA \(eta(now).map(clock) ?? "–")",
    ].joined(separator: "  ")
  }

  private static func eta(_ now: MigrationStatistics) -> Double? {
    guard now.status == .active, now.ram.pagesPerSecond > 0 else { return nil }
    return Double(now.pages.total) * (1 - now.bulkFraction) / now.ram.pagesPerSecond
  }

  private static func clock(_ seconds: Double) -> String {
    let whole = Int(seconds.rounded(.up))
    let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60)
    let tail = "\(rest < 10 ? "0" : "")\(rest)"
    return hours > 0 ? "\(hours):\(minutes < 10 ? "0" : "")\(minutes):\(tail)" : "\(minutes):\(tail)"
  }
}
