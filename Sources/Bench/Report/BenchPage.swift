// SPDX-License-Identifier: Apache-2.0
import PageModel

/// The report as one page: nothing outside it is needed, and it is XML.
public struct BenchPage {
  private let report: BenchReport

  public static func html(_ report: BenchReport) -> String { BenchPage(report: report).page }

  private var page: String {
    """
    <!DOCTYPE html>
    <html xmlns="http://www.w3.org/1999/xhtml" lang="en">
    <head>
    <meta charset="utf-8"/>
    <meta name="viewport" content="width=device-width, initial-scale=1"/>
    <title>pageferry bench: \(XMLText.escape(report.peer))</title>
    <style>
    \(BenchStyle.sheet)
    </style>
    </head>
    <body>
    <h1>pageferry bench</h1>
    \(summary)
    \(recommendation)
    \(BenchPlots(report: report).figures.map { Self.figure($0) }.joined(separator: "\n"))
    <h2>Migrations</h2>
    <p>Figures are those of the run with the median time. Busy: CPU time, of what the CPUs or the threads at work had.</p>
    \(cells)
    \(skipped)
    <h2>Link</h2>
    \(link)
    <h2>Hosts</h2>
    \(BenchHostTables(report: report).html)
    </body>
    </html>

    """
  }

  private var summary: String {
    let seconds = Decimal.fixed(report.seconds, digits: 0)
    var text = "To \(report.peer), \(ByteCount.format(report.memory)) of guest memory, \(seconds) s"
    if report.sameHost { text += ", both sides on one host" }
    let failure = report.failure.map {
      "\n<p class=\"failure\">It ended before its time: \(XMLText.escape($0.reason))</p>"
    }
    return "<p>\(XMLText.escape(text)).</p>\(failure ?? "")"
  }

  private static func figure(_ figure: BenchPlots.Figure) -> String {
    """
    <section>
    <h2>\(XMLText.escape(figure.title))</h2>
    <p>\(XMLText.escape(figure.text))</p>
    \(figure.element.map { "<figure>\($0)</figure>" } ?? "")
    </section>
    """
  }

  private var recommendation: String {
    guard let found = report.recommendation else { return "" }
    let gain = found.gain.map { ": \($0)" } ?? ""
    let rows = found.ranking.prefix(8).map { ranked in
      [
        ranked.options.commandLine, "\(Decimal.fixed(ranked.relativeTime * 100, digits: 0)) %",
        Decimal.fixed(ranked.seconds, digits: 3), "\(ranked.scenarios)",
      ]
    }
    return """
      <div class="use">
      <p>Use <code>\(XMLText.escape(found.options.commandLine))</code>\(XMLText.escape(gain)).</p>
      <p>\(XMLText.escape(found.advice))</p>
      </div>
      \(HTMLTable(head: ["options", "time, of that of \(found.baselineName)", "seconds", "guests compared"], rows: rows, texts: 1).html)
      """
  }

  private var cells: String {
    let head = [
      "codec", "content", "limit", "channels", "lanes", "dirty MB/s", "runs", "seconds", "downtime ms",
      "wire MB", "GB/s", "source CPU s", "dest. CPU s", "source busy", "dest. busy", "link full",
      "all runs, seconds",
    ]
    return HTMLTable(head: head, rows: report.cells.map { Self.row($0) }, texts: 3).html
  }

  private static func row(_ result: CellResult) -> [String] {
    let (cell, run) = (result.cell, result.median)
    func percent(_ share: Double) -> String { "\(Decimal.fixed(share * 100, digits: 0)) %" }
    let seconds = Decimal.fixed(run.seconds, digits: 3)
    let limit: String =
      switch run.outcome {
      case .completed: result.limit.shortName
      case .overtime: "did not end"
      case .failed: "failed: \(run.reason ?? "")"
      }
    return [
      cell.codec, cell.content, limit, "\(cell.channels)", "\(run.lanes)",
      cell.runs ? Decimal.fixed(cell.dirtyRate, digits: 0) : "paused", "\(result.runs.count)",
      run.outcome == .completed ? seconds : "> \(seconds)",
      run.downtimeMilliseconds.map { Decimal.fixed($0, digits: 1) } ?? "–",
      Decimal.fixed(Double(run.wireBytes) / 1e6, digits: 1),
      run.outcome == .completed ? Decimal.fixed(run.bytesPerSecond / 1e9, digits: 3) : "–",
      Decimal.fixed(run.sourceCPUSeconds, digits: 2), Decimal.fixed(run.destination.cpuSeconds, digits: 2),
      percent(result.load.source), percent(result.load.destination), percent(result.load.link),
      result.runs.map { Decimal.fixed($0.seconds, digits: 2) }.joined(separator: " "),
    ]
  }

  private var skipped: String {
    guard !report.skipped.isEmpty else { return "" }
    let items = report.skipped.map { "<li>\(XMLText.escape("\($0.cell.summary): \($0.reason)"))</li>" }
    return
      "<details><summary>Not tried: \(report.skipped.count)</summary><ul>\(items.joined(separator: "\n"))</ul></details>"
  }

  private var link: String {
    let rows = report.link.map { link in
      [
        "\(link.streams)", Decimal.fixed(link.bytesPerSecond / 1e9, digits: 3),
        Decimal.fixed(link.gigabitsPerSecond, digits: 2), "\(link.retransmitted) of \(link.segments)",
        Decimal.fixed(link.roundTripLoaded * 1000, digits: 3), Decimal.fixed(link.sourceCPU, digits: 2),
      ]
    }
    let head = [
      "streams", "GB/s", "Gbit/s", "segments sent again", "round trip, loaded, ms", "CPUs busy at the source",
    ]
    return HTMLTable(head: head, rows: rows, texts: 0).html
      + "<p>Plain TCP, from client to server. Round trip on an idle link: "
      + "\(Decimal.fixed(report.roundTripSeconds * 1000, digits: 3)) ms.</p>"
  }
}
