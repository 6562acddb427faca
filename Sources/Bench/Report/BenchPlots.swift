// SPDX-License-Identifier: Apache-2.0
import PageModel

/// A report's plots, each with its title and a sentence; without one where there is nothing to show.
struct BenchPlots {
  let report: BenchReport

  struct Figure {
    var title: String
    var text: String
    /// Nil: the text says why there is none.
    var element: String?
  }

  var figures: [Figure] { [throughput, codecs, dirtyRates, downtimes] }

  private var baseline: Cell { report.axes.baseline }

  private func result(_ change: (inout Cell) -> Void) -> CellResult? {
    var cell = baseline
    change(&cell)
    return report.cells.first { $0.cell == cell }
  }

  private var throughput: Figure {
    let title = "Throughput against channels"
    let counts = Set(report.axes.channels + report.link.map { $0.streams }).sorted()
    var series = report.axes.codecs.map { codec in
      LinePlot.Series(
        name: codec,
        points: counts.enumerated().compactMap { index, channels in
          result {
            $0.codec = codec
            $0.channels = channels
          }.flatMap { $0.isCompleted ? .init(category: index, value: $0.median.bytesPerSecond / 1e9) : nil }
        })
    }.filter { !$0.points.isEmpty }
    guard !series.isEmpty else { return Figure(title: title, text: "No paused guest was moved.", element: nil) }
    var text = "Guest memory a second, \(scenario). Zero pages and compression make it more than the link carries."
    let most = series.flatMap { $0.points.map { $0.value } }.max() ?? 0
    let link = report.link.compactMap { link in
      counts.firstIndex(of: link.streams).map {
        LinePlot.Point(category: $0, value: link.bytesPerSecond / 1e9)
      }
    }
    let fastest = link.map { $0.value }.max() ?? 0
    if !link.isEmpty, fastest <= 3 * most {
      series.append(.init(name: "plain TCP", points: link, isReference: true))
    } else if !link.isEmpty {
      let slowest = link.map { $0.value }.min() ?? 0
      text +=
        " Plain TCP is off the scale: \(Decimal.fixed(slowest, digits: 1)) to "
        + "\(Decimal.fixed(fastest, digits: 1)) GB/s."
    }
    return Figure(
      title: title, text: text,
      element: LinePlot(
        title: title, categories: counts.map { "\($0)" }, categoryLabel: "channels", valueLabel: "GB/s", series: series
      ).element)
  }

  private var scenario: String {
    baseline.runs
      ? "\(baseline.content), guest dirties \(Decimal.fixed(baseline.dirtyRate, digits: 0)) MB/s"
      : "\(baseline.content), paused guest"
  }

  private var codecs: Figure {
    let title = "Time by codec"
    let bars = report.axes.codecs.compactMap { codec -> (name: String, value: Double)? in
      guard let found = result({ $0.codec = codec }), found.isCompleted else { return nil }
      return (codec, found.median.seconds)
    }.sorted { $0.value < $1.value }
    guard !bars.isEmpty else { return Figure(title: title, text: "No migration was completed.", element: nil) }
    let channels = "\(baseline.channels) channel\(baseline.channels == 1 ? "" : "s")"
    return Figure(
      title: title, text: "Whole migrations of \(ByteCount.format(report.memory)), \(scenario), \(channels).",
      element: BarPlot(title: title, valueLabel: "seconds", bars: bars).element)
  }

  private var dirtyRates: Figure {
    let title = "Dirty rate against time"
    let rates = report.axes.dirtyRates.sorted()
    let series = report.axes.codecs.map { codec in
      LinePlot.Series(
        name: codec,
        points: rates.enumerated().compactMap { index, rate in
          result {
            $0.codec = codec
            $0.dirtyRate = rate
          }.flatMap { found in
            found.median.outcome == .failed
              ? nil : .init(category: index, value: found.median.seconds, isBound: !found.isCompleted)
          }
        })
    }.filter { !$0.points.isEmpty }
    guard rates.contains(where: { $0 > 0 }), !series.isEmpty else {
      return Figure(title: title, text: "No guest that runs was moved.", element: nil)
    }
    let hasBounds = series.contains { $0.points.contains { $0.isBound } }
    return Figure(
      title: title,
      text: "Time of a whole migration. 0 is a paused guest."
        + (hasBounds ? " Hollow: it did not converge, and was stopped then." : ""),
      element: LinePlot(
        title: title, categories: rates.map { Decimal.fixed($0, digits: 0) },
        categoryLabel: "MB that the guest dirties in a second", valueLabel: "seconds", series: series
      ).element)
  }

  private var downtimes: Figure {
    let title = "Downtime"
    let values = report.cells.flatMap { $0.runs }.filter { $0.outcome == .completed }
      .compactMap { $0.downtimeMilliseconds }.sorted()
    guard let most = values.last else {
      return Figure(title: title, text: "No guest that runs was moved.", element: nil)
    }
    let allowed =
      Double(SourceRun.downtimeLimit.components.seconds) * 1000
      + Double(SourceRun.downtimeLimit.components.attoseconds) / 1e15
    return Figure(
      title: title,
      text: "All \(values.count) migrations of a guest that ran: median "
        + "\(Decimal.fixed(values[values.count / 2], digits: 1)) ms, most \(Decimal.fixed(most, digits: 1)) ms, "
        + "\(Decimal.fixed(allowed, digits: 0)) ms allowed.",
      element: Histogram(
        title: title, valueLabel: "milliseconds", countLabel: "migrations", values: values, bound: allowed
      ).element)
  }
}
