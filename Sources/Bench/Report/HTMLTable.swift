// SPDX-License-Identifier: Apache-2.0
import PageModel

/// A table; it scrolls by itself where it is wider than the page.
struct HTMLTable {
  let head: [String]
  let rows: [[String]]
  /// Columns of text, which come first; the others are numbers.
  let texts: Int

  var html: String {
    let first = head.enumerated().map { "<th\(style($0))>\(XMLText.escape($1))</th>" }.joined()
    let rest = rows.map { row in
      "<tr>" + row.enumerated().map { "<td\(style($0))>\(XMLText.escape($1))</td>" }.joined() + "</tr>"
    }.joined(separator: "\n")
    return """
      <div class="wide"><table>
      <thead><tr>\(first)</tr></thead>
      <tbody>
      \(rest)
      </tbody>
      </table></div>
      """
  }

  private func style(_ column: Int) -> String { column < texts ? "" : " class=\"number\"" }
}

/// What the hosts are, and what they can do.
struct BenchHostTables {
  let report: BenchReport

  var html: String {
    guard let server = report.server else { return "<p>The server did not answer.</p>" }
    return HTMLTable(
      head: ["", "client", "server"], rows: description(report.client, server) + figures, texts: 3
    ).html + codecs
  }

  private func description(_ near: HostDescription, _ far: HostDescription) -> [[String]] {
    func memory(_ host: HostDescription) -> String {
      "\(ByteCount.format(host.memory)), \(ByteCount.format(host.memoryAvailable)) available"
    }
    return [
      ["software", near.software, far.software], ["kernel", near.kernel, far.kernel],
      ["processor", near.processor, far.processor],
      ["CPUs", "\(near.cpus), \(near.instructions)", "\(far.cpus), \(far.instructions)"],
      ["memory", memory(near), memory(far)], ["transparent huge pages", near.hugePages, far.hugePages],
      ["TCP congestion control", near.congestionControl, far.congestionControl],
    ]
  }

  private var figures: [[String]] {
    let parts: [(String, (HostFigures) -> Double)] = [
      ("reading memory, one thread", { $0.readOne }), ("reading memory, all CPUs", { $0.readAll }),
      ("copying memory, one thread", { $0.copyOne }), ("copying memory, all CPUs", { $0.copyAll }),
      ("finding zero pages", { $0.zeroScan }), ("first touch, huge pages", { $0.touchHuge }),
      ("first touch, small pages", { $0.touchSmall }),
    ]
    return parts.map { name, value in
      [name, Self.rate(report.clientFigures.map(value)), Self.rate(report.serverFigures.map(value))]
    }
  }

  private static func rate(_ bytesPerSecond: Double?) -> String {
    guard let bytesPerSecond, bytesPerSecond > 0 else { return "–" }
    return "\(Decimal.fixed(bytesPerSecond / 1e9, digits: 2)) GB/s"
  }

  private var codecs: String {
    guard let near = report.clientFigures?.codecs, !near.isEmpty else { return "" }
    let rows = near.map { codec in
      let far = report.serverFigures?.codecs.first { $0.codec == codec.codec }
      return [
        codec.codec, Decimal.fixed(codec.ratio, digits: 2), Self.rate(codec.encode), Self.rate(codec.decode),
        Self.rate(far?.encode), Self.rate(far?.decode),
      ]
    }
    let head = ["codec, one core", "ratio", "encode, client", "decode, client", "encode, server", "decode, server"]
    return "<h2>Codecs</h2>\(HTMLTable(head: head, rows: rows, texts: 1).html)"
  }
}

/// How the page looks, on light and on dark.
enum BenchStyle {
  static let sheet = """
    :root { color-scheme: light dark; --ink: #1d2329; --dim: #5d6873; --paper: #ffffff; --rule: #d9dee3; --box: #eef4fa;
      --s0: #2166ac; --s1: #d6604d; --s2: #1b9e77; --s3: #8e5fb0; --s4: #b8860b; --s5: #3f9fbf; --s6: #a5366f;
      --s7: #5f6f52; }
    @media (prefers-color-scheme: dark) {
      :root { --ink: #e3e7eb; --dim: #9aa5b1; --paper: #15191e; --rule: #343c45; --box: #1e2a36;
        --s0: #6fb1ef; --s1: #f08a75; --s2: #4fcfa3; --s3: #c19be0; --s4: #e0b94e; --s5: #7fd3ea; --s6: #e87fb3;
        --s7: #a9bd97; }
    }
    body { margin: 2rem auto; padding: 0 1rem; max-width: 76rem; background: var(--paper); color: var(--ink);
      font: 15px/1.5 system-ui, sans-serif; }
    h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
    code { font: 14px ui-monospace, monospace; }
    .use { background: var(--box); border-radius: 6px; padding: 0.4rem 1rem; margin: 1rem 0; }
    .failure { color: var(--s1); }
    figure { margin: 0.5rem 0; } svg { width: 100%; max-width: 760px; height: auto; }
    .wide { overflow-x: auto; }
    table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
    th, td { padding: 3px 10px; text-align: left; border-bottom: 1px solid var(--rule); white-space: nowrap; }
    th { color: var(--dim); font-weight: 600; vertical-align: bottom; }
    .number { text-align: right; }
    svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
    svg text.tick { fill: var(--dim); } svg text.label { fill: var(--dim); font-size: 12.5px; }
    .grid { stroke: var(--rule); stroke-width: 1; } .axis { stroke: var(--dim); stroke-width: 1; }
    .line { fill: none; stroke-width: 2; } .line.reference { stroke: var(--dim); stroke-dasharray: 6 4; }
    .mark { stroke-width: 2; } .mark.reference { fill: var(--dim); stroke: var(--dim); }
    \(colours)
    .mark.bound { fill: var(--paper); }
    """

  private static var colours: String {
    (0..<LinePlot.colours).map {
      ".line.s\($0) { stroke: var(--s\($0)); } .mark.s\($0) { fill: var(--s\($0)); stroke: var(--s\($0)); } "
        + ".bar.s\($0) { fill: var(--s\($0)); }"
    }.joined(separator: "\n")
  }
}
