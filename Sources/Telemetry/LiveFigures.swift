// SPDX-License-Identifier: Apache-2.0
import HostSystem
public import Migration
import PageModel

/// The live page's words and numbers: made once, here, for the page as it is served and for the script that keeps it
/// up to date.
public struct LiveFigures: Sendable, Codable, Equatable {
  /// By the identifier of the element that shows it.
  public var figures: [String: String]
  /// `good`, `waiting`, `bad` or `plain`: the colour of the headline.
  public var mood: String
  /// Percent of memory that is at the destination.
  public var progress: Double
  /// Whether the guest runs: else there is no throttle and no downtime.
  public var isLive: Bool
  /// Whether this is a half of a proxy pair: then a hypervisor decides, and knows what is left.
  public var isRelay: Bool
  public var isOver: Bool
  /// The latest iterations, the newest first.
  public var iterations: [[String]]

  static let iterationHead = [
    "iteration", "pages", "zero", "data", "delta", "unchanged", "on the wire", "seconds", "dirtied per s",
  ]
  static let iterationCountMax = 30

  init(
    _ now: MigrationStatistics, settings: MigrationSettings? = nil, iterations reports: [IterationReport],
    session: String
  ) {
    isLive = now.convergence != nil
    isRelay = now.relay != nil
    isOver = now.status.isFinal
    let total = Double(now.ram.total)
    let share = now.remainingBytes.map { total > 0 ? max(0, min(1, 1 - $0 / total)) : 0 } ?? 0
    progress = (share * 1000).rounded() / 10
    let head = Self.headline(now)
    mood = head.mood
    figures = Dictionary(uniqueKeysWithValues: Self.tiles(now, settings))
    figures["headline"] = head.words
    figures["advice"] = head.advice
    figures["session"] = "session \(session) \(now.relay?.role == .destination ? "from" : "to") \(now.peer)"
    figures["progress-text"] = "\(Decimal.fixed(progress, digits: progress < 99.95 ? 1 : 0)) %"
    iterations = reports.suffix(Self.iterationCountMax).reversed().map(Self.row)
  }

  /// Who has a figure.
  enum Owner: String {
    case everybody = ""
    /// What PageFerry moves by itself.
    case own = "of-own"
    /// A guest that runs.
    case live = "of-live"
    /// A half of a proxy pair.
    case relay = "of-relay"
    /// Either.
    case deltas = "of-deltas"
  }

  /// The figures below the headline: identifier, caption, and who has it.
  static let captions: [(id: String, caption: String, owner: Owner)] = [
    ("phase", "phase", .everybody), ("elapsed", "elapsed", .everybody), ("remaining", "memory to go", .own),
    ("total", "guest memory", .everybody), ("wire-rate", "on the wire", .everybody),
    ("wire", "sent so far", .everybody),
    ("dirty-rate", "guest writes", .live), ("transfer-rate", "sent again at", .live), ("throttle", "throttle", .live),
    ("expected", "downtime expected", .live), ("limit", "downtime allowed", .live),
    ("working-set", "working set", .live),
    ("cache", "delta cache", .deltas), ("stream-rate", "the hypervisor's stream", .relay),
    ("stream", "of it so far", .relay), ("mode", "carried as", .relay), ("window", "under way", .relay),
    ("held", "pages held here", .relay), ("overtaken", "pages overtaken", .relay), ("codec", "codec", .everybody),
    ("pages", "pages", .everybody), ("lanes", "lanes wait for the link", .everybody),
  ]

  private static func headline(_ now: MigrationStatistics) -> (words: String, advice: String, mood: String) {
    switch now.status {
    case .completed where now.relay != nil:
      return ("completed", "The hypervisor's stream has arrived. It took \(duration(now.totalTime / 1000)).", "good")
    case .completed:
      let stood = now.downtime.map { "The guest stood still for \(milliseconds($0))." } ?? "All memory has arrived."
      return ("completed", "\(stood) It took \(duration(now.totalTime / 1000)).", "good")
    case .cancelled: return ("cancelled", "The guest stays where it was.", "bad")
    case .failed:
      return ("failed", "\(now.relay == nil ? "The sender" : "The proxy") says why, in its last line.", "bad")
    case .setup where now.relay?.connections == 0: return ("waiting", now.relay?.sentence ?? "", "plain")
    case .setup, .reservation: return (now.status.rawValue, "No pages flow yet.", "plain")
    case .switchover, .commit: return (now.status.rawValue, "The guest is handed over.", "good")
    case .active: break
    }
    if let relay = now.relay {
      return ("active", relay.sentence, relay.mode == .verbatim ? "waiting" : "good")
    }
    guard let convergence = now.convergence else {
      guard let left = eta(now) else { return ("active", "Pages flow.", "good") }
      return ("active", "About \(duration(left)) to go.", "good")
    }
    if convergence.isPaused { return ("paused", "The guest stands still by order; its memory is sent.", "waiting") }
    let words = convergence.verdict == "cannot-converge" ? "cannot converge" : convergence.verdict
    let moods = ["converging": "good", "stalled": "waiting", "cannot-converge": "bad"]
    // The sentence begins with the verdict, which stands above it.
    let colon = convergence.advice.firstRange(of: ": ")
    let rest = colon.map { String(convergence.advice[$0.upperBound...]) } ?? ""
    let held = convergence.holds ? "It is held: not handed over until that is taken back. " : ""
    let advice = rest.isEmpty ? (words == "measuring" ? "Too little is known yet." : "") : rest + "."
    return (words, held + advice.prefix(1).uppercased() + advice.dropFirst(), moods[convergence.verdict] ?? "plain")
  }

  private static func tiles(_ now: MigrationStatistics, _ settings: MigrationSettings?) -> [(String, String)] {
    let steering = now.convergence
    let iteration = now.iteration.map { ", iteration \($0.iteration)" } ?? ""
    let kinds = [
      ("zero", now.pages.zero), ("data", now.pages.data), ("delta", now.pages.delta),
      ("unchanged", now.pages.unchanged),
    ]
    let waiting = now.lanes.reduce(0) { $0 + min(1, $1.blocked) } / Double(max(1, now.lanes.count))
    return [
      ("phase", now.status.rawValue + (now.status == .active ? iteration : "")),
      ("elapsed", duration(now.totalTime / 1000)),
      ("remaining", now.remainingBytes.map { ByteCount.format($0) } ?? "–"), ("total", ByteCount.format(now.ram.total)),
      ("wire-rate", rate(now.ram.mbps * 1e6 / 8)), ("wire", ByteCount.format(now.ram.transferred)),
      ("dirty-rate", now.dirtyBytesPerSecond.map(rate) ?? "–"),
      ("transfer-rate", steering?.transferRate.map(rate) ?? "–"), ("throttle", throttle(now)),
      ("expected", now.downtime.map { "it was \(milliseconds($0))" } ?? now.expectedDowntime.map(milliseconds) ?? "–"),
      ("limit", now.allowedDowntime(settings).map { milliseconds($0) } ?? "–"),
      ("working-set", steering.map { ByteCount.format($0.workingSet) } ?? "–"), ("cache", cache(now)),
      ("codec", now.codecsInUse.isEmpty ? "–" : now.codecsInUse),
      ("pages", kinds.filter { $0.1 > 0 }.map { "\(count($0.1)) \($0.0)" }.joined(separator: ", ")),
      ("lanes", now.lanes.isEmpty ? "–" : "\(percent(waiting)) of their time"),
    ] + relay(now.relay)
  }

  private static func relay(_ now: MigrationStatistics.Relay?) -> [(String, String)] {
    let window = now?.window.map {
      "\(ByteCount.format(UInt64(max(0, $0.used)))) of \(ByteCount.format(UInt64(max(0, $0.limit))))"
    }
    return [
      ("stream-rate", now.map { rate($0.streamRate) } ?? "–"),
      ("stream", now.map { ByteCount.format($0.streamBytes) } ?? "–"), ("mode", now?.mode?.rawValue ?? "–"),
      ("window", window ?? "–"), ("held", now?.heldBytes.map { ByteCount.format(UInt64(max(0, $0))) } ?? "–"),
      ("overtaken", now?.supersededPages.map(count) ?? "–"),
    ]
  }

  private static func throttle(_ now: MigrationStatistics) -> String {
    guard let steering = now.convergence else { return "–" }
    guard steering.highestThrottle > 0 else { return "none" }
    return "\(now.throttlePercentage ?? 0) % (\(Decimal.fixed(steering.meanThrottle, digits: 0)) % on average)"
  }

  private static func cache(_ now: MigrationStatistics) -> String {
    guard let use = now.xbzrleCache else { return "none" }
    let size = ByteCount.format(UInt64(max(0, use.cacheSize)))
    return use.hits + use.cacheMiss == 0 ? size : "\(size), hits \(percent(1 - use.cacheMissRate))"
  }

  private static func row(_ report: IterationReport) -> [String] {
    [
      "\(report.iteration)", count(UInt64(max(0, report.pendingPages))), count(report.zeroPages),
      count(report.dataPages), count(report.deltaPages), count(report.unchangedPages),
      ByteCount.format(report.wireBytes), report.seconds > 0 ? Decimal.fixed(report.seconds, digits: 2) : "–",
      report.dirtyPagesPerSecond > 0 ? rate(report.dirtyPagesPerSecond * 4096) : "–",
    ]
  }

  private static func eta(_ now: MigrationStatistics) -> Double? {
    guard now.ram.pagesPerSecond > 0, let remaining = now.ram.remaining else { return nil }
    return Double(remaining) / (now.ram.pagesPerSecond * Double(now.ram.pageSize))
  }

  // MARK: Numbers

  /// Rates are decimal, as links are named.
  static func rate(_ bytesPerSecond: Double) -> String {
    guard bytesPerSecond.isFinite, bytesPerSecond >= 0 else { return "–" }
    let (value, unit) = bytesPerSecond < 999.5e6 ? (bytesPerSecond / 1e6, "MB/s") : (bytesPerSecond / 1e9, "GB/s")
    return "\(Decimal.fixed(value, digits: value < 9.995 ? 2 : value < 99.95 ? 1 : 0)) \(unit)"
  }

  static func milliseconds(_ value: Double) -> String {
    value < 9999.5 ? "\(Decimal.fixed(value, digits: value < 99.95 ? 1 : 0)) ms" : duration(value / 1000)
  }

  static func milliseconds(_ value: Duration) -> String { milliseconds(Double(value.nanoseconds) / 1e6) }

  /// `4.2 s`, `3:07 min`, `1:02:03 h`.
  static func duration(_ seconds: Double) -> String {
    guard seconds.isFinite, seconds >= 0, seconds < 1e12 else { return "–" }
    if seconds < 99.95 { return "\(Decimal.fixed(seconds, digits: 1)) s" }
    let whole = Int(seconds.rounded())
    func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
    if whole < 3600 { return "\(whole / 60):\(two(whole % 60)) min" }
    return "\(whole / 3600):\(two(whole / 60 % 60)):\(two(whole % 60)) h"
  }

  private static func percent(_ share: Double) -> String { "\(Decimal.fixed(share * 100, digits: 0))\u{a0}%" }

  /// With a narrow space between thousands, at which no line ends.
  static func count(_ number: UInt64) -> String {
    let digits = Array("\(number)")
    var text = ""
    for (index, digit) in digits.enumerated() {
      if index > 0, (digits.count - index).isMultiple(of: 3) { text += "\u{202f}" }
      text.append(digit)
    }
    return text
  }
}

extension MigrationStatistics.Relay {
  /// What there is to say of it while pages flow, for people.
  public var sentence: String {
    if connections == 0 {
      return role == .source ? "No hypervisor has connected yet." : "The other half has not come yet."
    }
    let who = role == .source ? "QEMU" : "The source's QEMU"
    return "\(who) decides when it hands its guest over: its query-migrate says how far it is."
  }

  /// What holds the stream back at this moment; nil where that is not clear. Several connections have a window each, of which
  /// one may be full and another idle.
  public var limit: String? {
    guard let window, window.limit > 0, connections == 1, openConnections == 1 else { return nil }
    if window.used * 10 >= window.limit * 9 { return "full: the link is the limit" }
    return window.used * 2 <= window.limit ? "room: QEMU gives no more" : nil
  }
}
