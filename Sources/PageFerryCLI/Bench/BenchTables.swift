// SPDX-License-Identifier: Apache-2.0
import Bench
import PageFerry

/// A benchmark's report as a person reads it: at most 100 columns.
enum BenchTables {
  static func text(_ report: BenchReport) -> String {
    var parts = [hosts(report)]
    if !report.link.isEmpty { parts.append(link(report)) }
    let codecs = codecs(report)
    if !codecs.isEmpty { parts.append(codecs) }
    if !report.cells.isEmpty { parts.append(cells(report)) }
    let rest = remarks(report)
    if !rest.isEmpty { parts.append(rest.map { wrap($0) }.joined(separator: "\n")) }
    if let recommendation = report.recommendation { parts.append(self.recommendation(recommendation)) }
    return parts.joined(separator: "\n\n")
  }

  /// `zstd:1, 2 channels, 25:45:30, paused  43 %  12 s left`
  static func progress(_ progress: BenchProgress) -> String {
    let percent = progress.fraction.map { "  \(Int($0 * 100)) %" } ?? ""
    return "\(progress.step)\(percent)  \(Int(progress.secondsLeft.rounded(.up))) s left"
  }

  // MARK: Hosts

  private static func hosts(_ report: BenchReport) -> String {
    guard let server = report.server else { return "" }
    func memory(_ host: HostDescription) -> String {
      "\(ByteCount.format(host.memory)), \(ByteCount.format(host.memoryAvailable)) free"
    }
    func rates(_ one: Double?, _ all: Double?) -> String { "\(gigabytes(one)), all CPUs \(gigabytes(all))" }
    let (near, far) = (report.clientFigures, report.serverFigures)
    var rows = [
      ["", "this host", report.sameHost ? "the server (the same host)" : "the server's host"],
      ["software", report.client.software, server.software],
      ["kernel", report.client.kernel, server.kernel],
      ["processor", report.client.processor, server.processor],
      ["CPUs", "\(report.client.cpus), \(report.client.instructions)", "\(server.cpus), \(server.instructions)"],
      ["memory", memory(report.client), memory(server)],
      ["huge pages", report.client.hugePages, server.hugePages],
      ["TCP", report.client.congestionControl, server.congestionControl],
    ]
    if near != nil || far != nil {
      rows += [
        ["read", rates(near?.readOne, near?.readAll), rates(far?.readOne, far?.readAll)],
        ["copy", rates(near?.copyOne, near?.copyAll), rates(far?.copyOne, far?.copyAll)],
        ["zero scan", gigabytes(near?.zeroScan), gigabytes(far?.zeroScan)],
        [
          "first touch", "\(gigabytes(near?.touchHuge)) huge, \(gigabytes(near?.touchSmall)) small pages",
          "\(gigabytes(far?.touchHuge)) huge, \(gigabytes(far?.touchSmall)) small pages",
        ],
      ]
    }
    return TextTable(columns: [.left(12), .left(43), .left(43)]).text(rows)
  }

  private static func gigabytes(_ bytesPerSecond: Double?) -> String {
    guard let bytesPerSecond, bytesPerSecond > 0 else { return "–" }
    return "\(Decimal.fixed(bytesPerSecond / 1e9, digits: bytesPerSecond < 10e9 ? 2 : 1)) GB/s"
  }

  private static func link(_ report: BenchReport) -> String {
    let rows =
      [["link, plain TCP", "GB/s", "Gbit/s", "sent again", "round trip, loaded"]]
      + report.link.map { link in
        [
          "\(link.streams) stream\(link.streams == 1 ? "" : "s")", Decimal.fixed(link.bytesPerSecond / 1e9, digits: 3),
          Decimal.fixed(link.gigabitsPerSecond, digits: 2), "\(link.retransmitted) of \(link.segments)",
          milliseconds(link.roundTripLoaded),
        ]
      }
    return TextTable(columns: [.left(16), .right(9), .right(9), .right(20), .right(20)]).text(rows)
      + "\nround trip, idle: \(milliseconds(report.roundTripSeconds))"
  }

  private static func milliseconds(_ seconds: Double) -> String {
    "\(Decimal.fixed(seconds * 1000, digits: seconds < 0.01 ? 3 : 1)) ms"
  }

  private static func codecs(_ report: BenchReport) -> String {
    guard let near = report.clientFigures?.codecs, !near.isEmpty else { return "" }
    let rows = near.map { codec in
      let far = report.serverFigures?.codecs.first { $0.codec == codec.codec }
      return [
        codec.codec, Decimal.fixed(codec.ratio, digits: 2), gigabytes(codec.encode), gigabytes(codec.decode),
        gigabytes(far?.encode), gigabytes(far?.decode),
      ]
    }
    return TextTable(columns: [.left(16), .right(6), .right(14), .right(14), .right(16), .right(16)])
      .text([["one core", "ratio", "encode here", "decode here", "encode there", "decode there"]] + rows)
  }

  // MARK: Migrations

  private static func cells(_ report: BenchReport) -> String {
    let head = [
      "codec", "ch", "wk", " content", "dirty", "s", "down ms", "wire MB", "GB/s", "CPU s", "busy %", "  limit",
    ]
    let columns: [TextTable.Column] = [
      .left(13), .right(2), .right(4), .left(11), .right(5), .right(7), .right(8), .right(8), .right(6), .right(11),
      .right(8), .left(15),
    ]
    return TextTable(columns: columns).text([head] + report.cells.map { row($0) })
  }

  private static func row(_ result: CellResult) -> [String] {
    let run = result.median
    let seconds = Decimal.fixed(run.seconds, digits: run.seconds < 10 ? 3 : 1)
    func percent(_ share: Double) -> String { "\(Int((share * 100).rounded()))" }
    let state: String =
      switch run.outcome {
      case .completed: result.limit.shortName
      case .overtime: "did not end"
      case .failed: "failed"
      }
    return [
      result.cell.codec, "\(result.cell.channels)", "\(run.lanes)", " " + result.cell.content,
      result.cell.runs ? Decimal.fixed(result.cell.dirtyRate, digits: 0) : "–",
      run.outcome == .completed ? seconds : ">" + seconds,
      run.downtimeMilliseconds.map { Decimal.fixed($0, digits: 1) } ?? "–",
      Decimal.fixed(Double(run.wireBytes) / 1e6, digits: 1),
      run.outcome == .completed ? Decimal.fixed(run.bytesPerSecond / 1e9, digits: 2) : "–",
      "\(Decimal.fixed(run.sourceCPUSeconds, digits: 2))+\(Decimal.fixed(run.destination.cpuSeconds, digits: 2))",
      "\(percent(result.load.source))/\(percent(result.load.destination))", "  " + state,
    ]
  }

  private static func remarks(_ report: BenchReport) -> [String] {
    var lines: [String] = []
    let failed = report.cells.filter { $0.median.outcome == .failed }
    for cell in failed.prefix(3) { lines.append("failed: \(cell.cell.summary): \(cell.median.reason ?? "")") }
    for (reason, cells) in Dictionary(grouping: report.skipped, by: { $0.reason }).sorted(by: { $0.key < $1.key }) {
      let names = cells.prefix(2).map { $0.cell.summary }.joined(separator: "; ")
      lines.append(
        "skipped \(cells.count) (\(reason)): \(names)\(cells.count > 2 ? "; …" : "")")
    }
    return lines
  }

  // MARK: What to do

  private static func recommendation(_ found: Recommendation) -> String {
    let rows =
      [["", "options", "time", "s"]]
      + found.ranking.prefix(5).enumerated().map { index, ranked in
        [
          "\(index + 1).", ranked.options.commandLine, "\(Int((ranked.relativeTime * 100).rounded())) %",
          Decimal.fixed(ranked.seconds, digits: 3),
        ]
      }
    var lines = [TextTable(columns: [.left(3), .left(56), .right(8), .right(10)]).text(rows), ""]
    let gain = found.gain.map { ": \($0)" } ?? ""
    lines.append(wrap("use  \(found.options.commandLine)\(gain)"))
    lines.append(wrap(found.advice))
    return lines.joined(separator: "\n")
  }

  /// At most 100 columns a line, broken between words.
  private static func wrap(_ text: String) -> String {
    var lines = [""]
    for word in text.split(separator: " ", omittingEmptySubsequences: false) {
      let last = lines[lines.count - 1]
      if last.isEmpty {
        lines[lines.count - 1] = String(word)
      } else if last.count + 1 + word.count <= 100 {
        lines[lines.count - 1] += " \(word)"
      } else {
        lines.append("  \(word)")
      }
    }
    return lines.joined(separator: "\n")
  }
}
