// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import PageFerry

/// A final report as a person reads it, or as a program does.
struct ReportTable {
  private let report: MigrationReport

  static func json(_ report: MigrationReport) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(report), as: UTF8.self)
  }

  /// Any value as one line of JSON.
  static func line(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(value), as: UTF8.self)
  }

  static func text(_ report: MigrationReport) -> String {
    let rows = ReportTable(report: report).rows
    let width = rows.map { $0.name.count }.max() ?? 0
    return rows.map { "\($0.name)\(String(repeating: " ", count: width - $0.name.count))  \($0.value)" }
      .joined(separator: "\n")
  }

  private var isSource: Bool { report.role == .source }

  private var rows: [(name: String, value: String)] {
    [
      ("outcome", report.outcome.rawValue),
      (isSource ? "to" : "from", "\(report.peer)  (session \(report.session))"),
      ("guest", "\(ByteCount.format(report.bytes.guest)) in \(Self.count(report.blocks.count, "RAM block"))"),
      ("pages", "\(report.pages.total) of 4 KiB"),
      ("  zero", share(report.pages.zero)),
      ("  data", share(report.pages.data)),
    ] + changes + [
      (isSource ? "  not read" : "  not sent", "\(share(report.pages.notRead))  holes, known to be zero")
    ] + live + [
      ("wire", wire)
    ] + zeroCopy + [
      ("codec", codec)
    ] + uses + [
      ("time", time),
      ("speed", speed),
      ("threads", threads),
      ("process", process),
    ] + placement + digests
  }

  /// Pages that only a guest that runs has.
  private var changes: [(name: String, value: String)] {
    guard report.live != nil || report.pages.delta > 0 else { return [] }
    let deltas = [(name: "  delta", value: share(report.pages.delta))]
    guard isSource else { return deltas }
    return deltas + [("  unchanged", "\(share(report.pages.unchanged))  written, and as they were")]
  }

  private var live: [(name: String, value: String)] {
    guard let live = report.live else { return [] }
    var rows = [
      (name: "tracking", value: live.tracking),
      (name: "iterations", value: live.iterations.suffix(8).map(Self.iteration).joined(separator: ", ")),
    ]
    if let use = live.deltaCache {
      let rate = Decimal.fixed((1 - use.cacheMissRate) * 100, digits: 1)
      let overflow = use.overflow > 0 ? ", \(use.overflow) too long" : ""
      rows.append(
        (
          "deltas",
          "\(ByteCount.format(use.bytes)) on the wire, cache \(ByteCount.format(UInt64(use.cacheSize))), hits \(rate) %\(overflow)"
        ))
    }
    if live.highestThrottle > 0 {
      let mean = Decimal.fixed(live.meanThrottle, digits: 1)
      rows.append(("throttle", "\(mean) % of the time of the guest, at most \(live.highestThrottle) %"))
    }
    if let downtime = live.downtime {
      let expected = live.expectedDowntime.map { ", expected \(Decimal.fixed($0, digits: 1)) ms" } ?? ""
      rows.append(("downtime", Self.downtime(downtime) + expected))
    }
    return rows
  }

  /// `262144 pages in 3.1 s`
  private static func iteration(_ iteration: IterationReport) -> String {
    "\(iteration.donePages) pages in \(seconds(iteration.seconds))"
  }

  private static func downtime(_ downtime: Downtime) -> String {
    func ms(_ value: Double) -> String { Decimal.fixed(value, digits: 1) }
    let verify = downtime.verify > 0.1 ? ", verify \(ms(downtime.verify))" : ""
    return "\(ms(downtime.milliseconds)) ms: pause \(ms(downtime.pause)), sync \(ms(downtime.sync)), "
      + "transfer \(ms(downtime.transfer)) (\(downtime.pages) pages, state \(ms(downtime.state))\(verify)), "
      + "commit \(ms(downtime.commit)), resume \(ms(downtime.resume))"
  }

  private var wire: String {
    let bytes = ByteCount.format(report.bytes.wire)
    let decoders =
      report.decoders.map { $0.perChannel > 0 ? ", \(Self.count($0.perChannel, "decoder")) each" : "" } ?? ""
    return "\(bytes) on \(Self.count(report.channels, "channel")), \(Self.count(report.lanes, "lane"))\(decoders)"
  }

  /// What came of sending without a copy, if it was tried.
  private var zeroCopy: [(name: String, value: String)] {
    guard let use = report.zeroCopy, use.outcome != .off else { return [] }
    let sent = "\(ByteCount.format(use.bytes)) in \(Self.count(Int(clamping: use.sends), "send"))"
    let copied = use.copiedAnyway > 0 ? ", \(use.copiedAnyway) copied anyway" : ""
    let fallbacks = use.fallbacks > 0 ? ", \(use.fallbacks) not taken" : ""
    return [("zero-copy", "\(use.outcome.rawValue): \(sent)\(copied)\(fallbacks)")]
  }

  private var codec: String {
    guard isSource, report.codec.bytesIn > 0 else { return report.codec.name }
    let ratio = Double(report.codec.bytesIn) / Double(max(1, report.codec.bytesOut))
    let changes = report.codec.name == "auto" ? ", \(Self.count(report.codec.changes, "change"))" : ""
    return "\(report.codec.name) (\(report.codec.library)), ratio \(Decimal.fixed(ratio, digits: 2))\(changes)"
  }

  /// What each codec did, if there is more to say than one line has.
  private var uses: [(name: String, value: String)] {
    report.codec.uses.map { use in
      let pages = "\(use.pages) pages at \(Decimal.fixed(use.ratio, digits: 2))"
      let cost = "\(Decimal.fixed(use.nanosecondsPerPage / 1000, digits: 2)) µs of CPU a page"
      let bypassed = use.bypassedPages > 0 ? ", \(use.bypassedPages) sent raw" : ""
      return (
        "  \(use.codec)",
        use.bytesIn == use.bytesOut && use.cpuNanoseconds == 0 ? "\(use.pages) pages" : "\(pages), \(cost)\(bypassed)"
      )
    }
  }

  private var time: String {
    let seconds = report.seconds
    let phases = [
      ("setup", seconds.setup), ("reservation", seconds.reservation), ("active", seconds.active),
      ("switchover", seconds.switchover), ("commit", seconds.commit),
    ]
    return "\(Self.seconds(seconds.total)): "
      + phases.map { "\($0.0) \(Self.seconds($0.1))" }.joined(separator: ", ")
  }

  private var speed: String {
    let guest = ByteCount.format(report.bytes.guestPerSecond)
    return "guest \(guest)/s, wire \(ByteCount.format(report.bytes.wirePerSecond))/s while active"
  }

  /// Where the data plane's threads spent their time, summed over them: what is large is the limit.
  private var threads: String {
    let memory = Self.seconds(report.resources.memorySeconds)
    let codec = "codec \(Self.seconds(report.codec.seconds))"
    guard isSource else { return "writing memory \(memory), \(codec)" }
    return "reading memory \(memory), \(codec), waiting for the link \(Self.seconds(report.resources.blockedSeconds))"
  }

  private var process: String {
    let resources = report.resources
    return "CPU \(Self.seconds(resources.cpuSeconds)), peak memory \(ByteCount.format(resources.peakResidentBytes)), "
      + "frame buffers \(ByteCount.format(resources.bufferBytes))"
      + (resources.historyBytes > 0 ? ", codec history \(ByteCount.format(resources.historyBytes))" : "")
  }

  /// Where threads were bound, if they were.
  private var placement: [(name: String, value: String)] {
    guard let placement = report.placement, placement.policy != "none" else { return [] }
    let shown = placement.threads.prefix(6).enumerated().map { (name: $0 == 0 ? "placement" : "", value: $1) }
    let rest = placement.threads.count - shown.count
    return shown + (rest > 0 ? [(name: "", value: "… and \(rest) more: --json")] : [])
  }

  private var digests: [(name: String, value: String)] {
    let all = report.blocks.compactMap { block in block.digest.map { "\($0) \(block.name)" } }
    let shown = all.prefix(4).enumerated().map { (name: $0 == 0 ? "digest" : "", value: $1) }
    return shown + (all.count > 4 ? [(name: "", value: "… and \(all.count - 4) more: --json")] : [])
  }

  private func share(_ pages: UInt64) -> String {
    // A page of a guest that runs may go more than once.
    guard report.pages.total > 0, pages <= report.pages.total else { return "\(pages)" }
    return "\(pages) (\(Decimal.fixed(Double(pages) * 100 / Double(report.pages.total), digits: 1)) %)"
  }

  private static func count(_ number: Int, _ thing: String) -> String { "\(number) \(thing)\(number == 1 ? "" : "s")" }

  private static func seconds(_ value: Double) -> String { Decimal.fixed(value, digits: value < 10 ? 3 : 1) + " s" }
}
