// SPDX-License-Identifier: Apache-2.0
import PageFerry
import QEMUBridge

/// What a stream holds, as a person reads it.
struct InspectReport {
  private let summary: StreamSummary

  init(_ summary: StreamSummary) { self.summary = summary }

  var text: String {
    let rows = stream + configuration + blocks + course + multifd + end
    let width = rows.map { $0.name.count }.max() ?? 0
    return rows.map { "\($0.name)\(String(repeating: " ", count: width - $0.name.count))  \($0.value)" }
      .joined(separator: "\n")
  }

  private typealias Row = (name: String, value: String)

  private var stream: [Row] {
    [("stream", "\(ByteCount.format(summary.byteCount)) (\(summary.byteCount) bytes)")]
  }

  private var configuration: [Row] {
    let footers = summary.footers.map { $0 ? ", sections with footers" : ", sections without footers" } ?? ""
    let page = summary.pageByteCount >= 1024 ? "\(summary.pageByteCount >> 10) KiB" : "\(summary.pageByteCount) bytes"
    var rows: [Row] = [
      ("machine", "\(summary.machine.map(Printable.text) ?? "not told"), pages of \(page)\(footers)")
    ]
    if !summary.capabilities.isEmpty {
      rows.append(("capabilities", summary.capabilities.map(Printable.text).joined(separator: ", ")))
    }
    if let uuid = summary.uuid { rows.append(("uuid", uuid)) }
    if !summary.commands.isEmpty {
      let shown = summary.commands.prefix(12).map { command in
        command.value.map { "\(command.name) \($0)" } ?? command.name
      }
      let rest = summary.commands.count - shown.count
      rows.append(("commands", shown.joined(separator: ", ") + (rest > 0 ? " and \(rest) more" : "")))
    }
    return rows
  }

  private var blocks: [Row] {
    let shown = summary.blocks.prefix(16).enumerated().map { index, block -> Row in
      var value = "\(Printable.text(block.name)), \(ByteCount.format(block.byteCount))"
      if let address = block.guestPhysicalAddress { value += " at 0x\(String(address, radix: 16))" }
      if let page = block.hostPageByteCount { value += ", host pages of \(ByteCount.format(page))" }
      if block.pagesNeverNamed > 0 { value += ", \(block.pagesNeverNamed) pages never named" }
      return (index == 0 ? "blocks" : "", value)
    }
    let rest = summary.blocks.count - shown.count
    return shown + (rest > 0 ? [("", "… and \(rest) more: --json")] : [])
  }

  private static let recordNames = [
    "PAGE", "ZERO", "XBZRLE", "COMPRESS_PAGE", "MEM_SIZE", "EOS", "MULTIFD_FLUSH",
  ]

  private var course: [Row] {
    guard let ram = summary.ramSection else { return [] }
    let start = summary.sections["start"] ?? 0
    let part = summary.sections["part"] ?? 0
    let end = summary.sections["end"] ?? 0
    var rows: [Row] = [("sections", "number \(ram): \(start) start, \(part) part, \(end) end")]
    for name in Self.recordNames {
      guard let count = summary.records[name] else { continue }
      let bytes = ByteCount.format(summary.bytes[name] ?? 0)
      let isFirst = rows.count == 1
      rows.append((isFirst ? "records" : "", "\(name) \(count), \(bytes)"))
    }
    let passes = summary.passes.suffix(8).map { "\($0.pages) (\($0.zeroPages) zero)" }.joined(separator: ", ")
    let more = summary.passes.count > 8 ? "… " : ""
    if !summary.passes.isEmpty { rows.append(("passes", "\(summary.passes.count), of pages: \(more)\(passes)")) }
    let never = summary.blocks.reduce(0) { $0 + $1.pagesNeverNamed }
    rows.append(("again", "\(summary.pagesSentAgain) pages sent again, \(never) never named"))
    return rows
  }

  private var multifd: [Row] {
    summary.multifd.enumerated().map { index, channel in
      var value = "channel \(channel.channel): \(channel.packets) packets, \(channel.pages) pages, "
      value += "\(channel.zeroPages) zero, \(channel.barriers) barriers"
      if let opaque = channel.opaque {
        value += "; from byte \(opaque.offset) on \(ByteCount.format(opaque.byteCount)) opaque (\(opaque.cause))"
      }
      return (index == 0 ? "multifd" : "", value)
    }
  }

  private var end: [Row] {
    var rows: [Row] = [("ram", summary.ramComplete ? "complete" : "not complete")]
    if let opaque = summary.opaque {
      rows.append(
        (
          "opaque",
          "\(ByteCount.format(opaque.byteCount)) (\(opaque.byteCount) bytes) from byte \(opaque.offset) on: \(opaque.cause)"
        ))
    }
    return rows
  }
}
