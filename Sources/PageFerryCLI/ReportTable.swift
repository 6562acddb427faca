// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import PageFerry

/// A final report as a person reads it, or as a program does.
enum ReportTable {
  static func json(_ report: MigrationReport) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(report), as: UTF8.self)
  }

  static func text(_ report: MigrationReport) -> String {
    let pages = report.pages
    func share(_ count: UInt64) -> String {
      pages.total == 0 ? "" : " (\(Decimal.fixed(Double(count) * 100 / Double(pages.total), digits: 1)) %)"
    }
    let seconds = report.seconds
    func time(_ value: Double) -> String { Decimal.fixed(value, digits: value < 10 ? 3 : 1) + " s" }
    let direction = report.role == .source ? "to" : "from"
    var rows: [(String, String)] = [
      ("outcome", report.outcome.rawValue),
      (direction, "\(report.peer)  (session \(report.session))"),
      (
        "guest",
        "\(ByteCount.format(report.bytes.guest)) in \(report.blocks.count) RAM block\(report.blocks.count == 1 ? "" : "s")"
      ),
      ("pages", "\(pages.total) of 4 KiB"),
      ("  zero", "\(pages.zero)\(share(pages.zero))"),
      ("  data", "\(pages.data)\(share(pages.data))"),
      (
        report.role == .source ? "  not read" : "  not sent",
        "\(pages.notRead)\(share(pages.notRead))  holes: known to be zero"
      ),
      (
        "wire",
        "\(ByteCount.format(report.bytes.wire)) on \(report.channels) channel\(report.channels == 1 ? "" : "s"), \(report.lanes) lane\(report.lanes == 1 ? "" : "s")"
      ),
      ("codec", codec(report)),
      (
        "time",
        "\(time(seconds.total)): setup \(time(seconds.setup)), reservation \(time(seconds.reservation)), active \(time(seconds.active)), switchover \(time(seconds.switchover)), commit \(time(seconds.commit))"
      ),
      (
        "speed",
        "guest \(ByteCount.format(report.bytes.guestPerSecond))/s, wire \(ByteCount.format(report.bytes.wirePerSecond))/s while active"
      ),
      (
        "process",
        "CPU \(time(report.resources.cpuSeconds)), peak memory \(ByteCount.format(report.resources.peakResidentBytes)), frame buffers \(ByteCount.format(report.resources.bufferBytes))"
      ),
    ]
    if report.role == .source {
      rows.append(
        (
          "lanes' time",
          "reading memory \(time(report.resources.memorySeconds)), codec \(time(report.codec.seconds)), waiting for the link \(time(report.resources.blockedSeconds))"
        ))
    } else {
      rows.append(
        (
          "channels' time",
          "writing memory \(time(report.resources.memorySeconds)), codec \(time(report.codec.seconds))"
        ))
    }
    let digests = report.blocks.compactMap { block in block.digest.map { "\(block.name) \($0)" } }
    rows += digests.prefix(4).enumerated().map { ($0 == 0 ? "digest" : "", $1) }
    if digests.count > 4 { rows.append(("", "… and \(digests.count - 4) more: --json")) }
    let width = rows.map { $0.0.count }.max() ?? 0
    return rows.map { "\($0)\(String(repeating: " ", count: width - $0.count))  \($1)" }.joined(separator: "\n")
  }

  private static func codec(_ report: MigrationReport) -> String {
    guard report.role == .source, report.codec.bytesIn > 0 else { return report.codec.name }
    let ratio = Double(report.codec.bytesIn) / Double(max(1, report.codec.bytesOut))
    let bypassed = report.codec.bypassedPages > 0 ? ", \(report.codec.bypassedPages) pages sent raw" : ""
    return "\(report.codec.name) (\(report.codec.library)), ratio \(Decimal.fixed(ratio, digits: 2))\(bypassed)"
  }
}
