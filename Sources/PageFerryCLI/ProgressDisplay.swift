// SPDX-License-Identifier: Apache-2.0
import HostSystem
import PageFerry
import Synchronization

/// Shows a running migration: a line that is rewritten five times a second on a terminal, a plain line every two
/// seconds elsewhere.
final class ProgressDisplay: Sendable {
  private let read: @Sendable () -> MigrationProgress
  private let console: Console
  private let stopped = Atomic<Bool>(false)
  private let stopSpot = ParkingSpot()
  private let thread = Mutex<HostThread?>(nil)

  init(console: Console = .shared, reading read: @escaping @Sendable () -> MigrationProgress) {
    self.console = console
    self.read = read
  }

  func start() {
    thread.withLock { $0 = HostThread(name: "pf-display") { [self] in run() } }
  }

  func stop() {
    stopped.store(true, ordering: .relaxed)
    stopSpot.wake()
    let running = thread.withLock { thread -> HostThread? in
      defer { thread = nil }
      return thread
    }
    running?.join()
    console.clearProgress()
  }

  private func run() {
    let interval: Int64 = console.isTerminal ? 200_000_000 : 2_000_000_000
    var meter = RateMeter()
    while !stopSpot.wait(nanoseconds: interval, until: { stopped.load(ordering: .relaxed) }) {
      let progress = read()
      guard !progress.peer.isEmpty, !progress.phase.isFinal else { continue }
      if progress.phase == .setup {
        // Nothing moves yet: on a terminal, say what is being waited for.
        if console.isTerminal { console.showProgress("setup       \(progress.peer)") }
        continue
      }
      let line = Self.line(progress, meter.rates(progress))
      if console.isTerminal { console.showProgress(line) } else { console.print(line) }
    }
  }

  /// `active      95 %  wire 96.2 MiB/s  guest 247 MiB/s  zero 0  data 126810  ratio 2.57  zstd:1  ETA 0:01`
  static func line(_ progress: MigrationProgress, _ rates: RateMeter.Rates) -> String {
    let percent = Int((progress.fraction * 100).rounded(.down))
    let data = Double(progress.dataPages) * 4096
    let ratio = progress.wireBytes > 0 && data > 0 ? Decimal.fixed(data / Double(progress.wireBytes), digits: 2) : "–"
    return [
      "\(progress.phase.rawValue)\(String(repeating: " ", count: max(0, 10 - progress.phase.rawValue.count)))",
      "\(percent < 10 ? "  " : percent < 100 ? " " : "")\(percent) %",
      "wire \(ByteCount.format(rates.wirePerSecond))/s",
      "guest \(ByteCount.format(rates.guestPerSecond))/s",
      "zero \(progress.zeroPages)",
      "data \(progress.dataPages)",
      "ratio \(ratio)" + (progress.codec.isEmpty ? "" : "  \(progress.codec)"),
      "ETA \(rates.etaSeconds.map(clock) ?? "–")",
    ].joined(separator: "  ")
  }

  private static func clock(_ seconds: Double) -> String {
    let whole = Int(seconds.rounded(.up))
    let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60)
    let tail = "\(rest < 10 ? "0" : "")\(rest)"
    return hours > 0 ? "\(hours):\(minutes < 10 ? "0" : "")\(minutes):\(tail)" : "\(minutes):\(tail)"
  }
}

/// Rates over the last couple of seconds.
struct RateMeter {
  struct Rates {
    var wirePerSecond = 0.0
    var guestPerSecond = 0.0
    var etaSeconds: Double?
  }

  private var samples: [(seconds: Double, wire: UInt64, pages: UInt64)] = [(0, 0, 0)]
  private static let windowSeconds = 2.5

  mutating func rates(_ progress: MigrationProgress) -> Rates {
    let pages = progress.zeroPages + progress.dataPages
    samples.append((progress.elapsedSeconds, progress.wireBytes, pages))
    while samples.count > 2, samples[1].seconds < progress.elapsedSeconds - Self.windowSeconds {
      samples.removeFirst()
    }
    guard let first = samples.first, progress.elapsedSeconds > first.seconds else { return Rates() }
    let span = progress.elapsedSeconds - first.seconds
    let pagesPerSecond = Double(pages - min(pages, first.pages)) / span
    let left = Double(progress.totalPages) * (1 - progress.fraction)
    return Rates(
      wirePerSecond: Double(progress.wireBytes - min(progress.wireBytes, first.wire)) / span,
      guestPerSecond: pagesPerSecond * 4096,
      etaSeconds: pagesPerSecond > 0 && progress.phase == .active ? left / pagesPerSecond : nil)
  }
}
