// SPDX-License-Identifier: Apache-2.0
import PageFerry
import Telemetry

/// Shows a half of a proxy pair while its hypervisor's stream flows: one screen, redrawn, on a terminal; a line every two
/// seconds elsewhere. While nobody has connected, nothing.
final class ProxyScreen: Sendable {
  typealias Reading = @Sendable () -> (MigrationStatistics, MigrationSettings?)

  private let ticker: Ticker
  private let console: Console

  init(title: String, console: Console = .shared, reading read: @escaping Reading) {
    self.console = console
    ticker = Ticker(every: console.isTerminal ? 200_000_000 : 2_000_000_000) {
      let (now, settings) = read()
      guard let relay = now.relay, relay.connections > 0, !now.status.isFinal else { return }
      if console.isTerminal {
        console.showScreen(Self.lines(now, relay, settings, title: title))
      } else {
        console.print(Self.line(now, relay))
      }
    }
  }

  func start() { ticker.start() }

  func stop() {
    ticker.stop()
    console.clearProgress()
  }

  /// How the stream is carried, after "as".
  static func words(_ mode: MigrationStatistics.Relay.Mode) -> String {
    switch mode {
    case .verbatim: "it is, not taken apart"
    case .pages: "pages, the stream made anew"
    case .direct: "pages, straight into QEMU's memory"
    }
  }

  /// `active      QEMU 118 MiB/s  wire 41.0 MiB/s  data 12810  delta 3  zero 12  overtaken 9  under way 3.90 of 5.10 MiB  zstd:1`
  static func line(_ now: MigrationStatistics, _ relay: MigrationStatistics.Relay) -> String {
    let pages = now.pages
    var parts = [
      now.status.rawValue + String(repeating: " ", count: max(0, 10 - now.status.rawValue.count)),
      // Where pages go straight into its memory, QEMU's stream says nothing.
      relay.mode == .direct && relay.role == .destination
        ? "memory \(ByteCount.format(now.ram.pagesPerSecond * 4096))/s"
        : "QEMU \(ByteCount.format(relay.streamRate))/s", "wire \(ByteCount.format(now.ram.mbps * 1e6 / 8))/s",
    ]
    if relay.mode == .verbatim {
      parts.append("passed on as it is: \(ByteCount.format(relay.passedBytes))")
    } else {
      parts += ["data \(pages.data)", "delta \(pages.delta)", "zero \(pages.zero)"]
      if let overtaken = relay.supersededPages { parts.append("overtaken \(overtaken)") }
    }
    if let window = relay.window { parts.append("under way \(size(window.used)) of \(size(window.limit))") }
    if !now.codecsInUse.isEmpty { parts.append(now.codecsInUse) }
    return parts.joined(separator: "  ")
  }

  // MARK: The screen

  static func lines(
    _ now: MigrationStatistics, _ relay: MigrationStatistics.Relay, _ settings: MigrationSettings?, title: String
  ) -> [String] {
    let isSource = relay.role == .source
    var rows: [(String, String)] = [
      ("phase", "\(now.status.rawValue)   \(Decimal.fixed(now.totalTime / 1000, digits: 1)) s"),
      (
        "stream",
        "\(ByteCount.format(relay.streamRate))/s \(isSource ? "from" : "to") QEMU, "
          + "\(ByteCount.format(relay.streamBytes)) so far"
          + (now.ram.total > 0 ? " (the guest has \(ByteCount.format(now.ram.total)))" : "")
      ),
      (
        "wire",
        "\(ByteCount.format(now.ram.mbps * 1e6 / 8))/s, \(ByteCount.format(now.ram.transferred)) so far"
          + (settings.map { $0.bandwidthLimit > 0 ? ", limit \(ByteCount.format($0.bandwidthLimit))/s" : "" } ?? "")
      ),
    ]
    if let mode = relay.mode {
      let count = relay.openConnections
      rows.append(("carried", "as \(words(mode))" + (relay.connections > 1 ? ", \(count) connections" : "")))
    }
    if relay.mode != .verbatim { rows += pages(now, relay) }
    if let window = relay.window {
      rows.append(
        (
          "under way",
          "\(size(window.used)) of \(size(window.limit)) allowed" + (relay.limit.map { " (\($0))" } ?? "")
            + ", at most \(size(window.highest)) so far"
        ))
    }
    if let held = relay.heldBytes, relay.mode != .verbatim { rows.append(("held", "\(size(held)) of pages")) }
    if !relay.channelBytes.isEmpty {
      rows.append(("channels", relay.channelBytes.map { ByteCount.format($0) }.joined(separator: "   ")))
    }
    rows.append(("hand-over", relay.sentence))
    return [title] + rows.map { name, value in name + String(repeating: " ", count: 10 - name.count) + value }
  }

  private static func pages(_ now: MigrationStatistics, _ relay: MigrationStatistics.Relay) -> [(String, String)] {
    let pages = now.pages
    var kinds = "zero \(pages.zero)  data \(pages.data)  delta \(pages.delta)"
    if relay.role == .source { kinds += "  unchanged \(pages.unchanged)" }
    if let overtaken = relay.supersededPages { kinds += "  overtaken \(overtaken)" }
    var rows = [("pages", kinds)]
    if let use = now.xbzrleCache, use.hits + use.cacheMiss > 0 {
      rows.append(
        (
          "deltas",
          "cache \(ByteCount.format(UInt64(use.cacheSize))), hits "
            + "\(Decimal.fixed((1 - use.cacheMissRate) * 100, digits: 1)) %, \(ByteCount.format(use.bytes)) on the wire"
        ))
    }
    if !now.codecsInUse.isEmpty { rows.append(("codec", now.codecsInUse)) }
    if !now.lanes.isEmpty { rows.append(("lanes", now.lanes.map(DemoScreen.share).joined(separator: "   "))) }
    return rows
  }

  private static func size(_ bytes: Int) -> String { ByteCount.format(UInt64(max(0, bytes))) }
}
