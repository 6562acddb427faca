// SPDX-License-Identifier: Apache-2.0

/// The live page: one document, with nothing from elsewhere. It shows the figures as they are when it is asked for; its
/// script keeps them up to date and draws the charts. Without the script the browser asks again every two seconds.
enum LivePage {
  static func html(_ status: StatusDocument) -> String {
    let page = status.page
    let body = [
      heading(page), progress(page), tiles(page), charts, iterations(page), settings(status.settings),
      """
      <p class="links"><a href="status.json">status.json</a> <a href="metrics">metrics</a>
      <noscript>Charts need JavaScript; figures are as of the last load, every 2 s.</noscript></p>
      """,
    ]
    return """
      <!DOCTYPE html>
      <html lang="en">
      <head>
      <meta charset="utf-8">
      <meta name="viewport" content="width=device-width, initial-scale=1">
      <meta name="color-scheme" content="light dark">
      <title>\(escape(page.figures["headline"] ?? "")) · PageFerry</title>
      <link rel="icon" href="data:,">
      <noscript><meta http-equiv="refresh" content="2"></noscript>
      <style>
      \(LiveStyle.sheet)
      </style>
      </head>
      <body class="\(escape(page.mood))\(page.isLive ? " live" : "")\(page.isRelay ? " relay" : "")\(page.isOver ? " over" : "")">
      \(body.joined(separator: "\n"))
      <script>
      \(LiveScript.text)
      </script>
      </body>
      </html>

      """
  }

  private static func figure(_ id: String, _ page: LiveFigures) -> String { escape(page.figures[id] ?? "–") }

  private static func heading(_ page: LiveFigures) -> String {
    """
    <header>
    <p class="small"><b>PageFerry</b> <span id="session">\(figure("session", page))</span></p>
    <h1 id="headline" aria-live="polite">\(figure("headline", page))</h1>
    <p id="advice">\(figure("advice", page))</p>
    <p id="stale" role="alert" hidden></p>
    </header>
    """
  }

  private static func progress(_ page: LiveFigures) -> String {
    """
    <div class="of-own"><div class="progress"><div class="track"><div id="bar" style="width: \(page.progress)%"></div></div>
    <span id="progress-text">\(figure("progress-text", page))</span></div>
    <p class="small">of the memory is at the destination, as far as the last sync tells</p></div>
    """
  }

  private static func tiles(_ page: LiveFigures) -> String {
    let all = LiveFigures.captions.map { id, caption, owner in
      "<div\(owner == .everybody ? "" : " class=\"\(owner.rawValue)\"")><dt>\(caption)</dt><dd id=\"\(id)\">\(figure(id, page))</dd></div>"
    }
    return "<dl class=\"tiles\">\n\(all.joined(separator: "\n"))\n</dl>"
  }

  private static let charts = """
    <section class="charts" id="charts" hidden>
    <figure><figcaption>Guest memory written, bytes sent <span class="unit">MB/s</span></figcaption>
    <div id="chart-rates" class="chart"></div></figure>
    <figure class="of-live"><figcaption>Throttle <span class="unit">% of the guest's time</span></figcaption>
    <div id="chart-throttle" class="chart"></div></figure>
    <figure class="of-live"><figcaption>Downtime, expected and allowed <span class="unit">ms</span></figcaption>
    <div id="chart-downtime" class="chart"></div></figure>
    <figure class="of-own"><figcaption>Memory to go <span class="unit">MiB</span></figcaption>
    <div id="chart-remaining" class="chart"></div></figure>
    </section>
    """

  private static func iterations(_ page: LiveFigures) -> String {
    let head = LiveFigures.iterationHead.map { "<th scope=\"col\">\($0)</th>" }.joined()
    let rows = page.iterations.map { row in "<tr>" + row.map { "<td>\(escape($0))</td>" }.joined() + "</tr>" }
    return """
      <section class="of-live"><h2>Iterations</h2>
      <div class="wide"><table><thead><tr>\(head)</tr></thead><tbody id="iterations">
      \(rows.joined(separator: "\n"))
      </tbody></table></div></section>
      """
  }

  private static func settings(_ all: [StatusDocument.Setting]) -> String {
    let rows = all.map { "<tr><th scope=\"row\">\(escape($0.name))</th><td>\(escape($0.value))</td></tr>" }
    return """
      <section><h2>Settings</h2>
      <table class="settings"><tbody id="settings">
      \(rows.joined(separator: "\n"))
      </tbody></table></section>
      """
  }

  static func escape(_ text: String) -> String {
    var escaped = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "&": escaped += "&amp;"
      case "<": escaped += "&lt;"
      case ">": escaped += "&gt;"
      case "\"": escaped += "&quot;"
      case "'": escaped += "&#39;"
      default: escaped.unicodeScalars.append(scalar)
      }
    }
    return escaped
  }
}
