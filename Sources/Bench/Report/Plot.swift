// SPDX-License-Identifier: Apache-2.0
import PageModel

/// Where round numbers are on an axis that begins at zero.
struct Scale {
  let end: Double
  let ticks: [Double]

  /// An axis for values up to `most`, with about `count` steps.
  init(upTo most: Double, count: Int = 5) {
    let least = most > 0 && most.isFinite ? most : 1
    var step = 1e-9
    // 1, 2, 5, 10 …: the first that needs no more steps than wanted.
    search: while true {
      for factor in [1.0, 2.0, 5.0] where step * factor * Double(count) >= least {
        step *= factor
        break search
      }
      step *= 10
    }
    let steps = Int((least / step).rounded(.up))
    ticks = (0...max(1, steps)).map { Double($0) * step }
    end = ticks.last ?? 1
  }

  /// A tick's number, with as many digits as tell it from its neighbours.
  func label(_ tick: Double) -> String {
    let step = ticks.count > 1 ? ticks[1] : 1
    var digits = 0
    var scaled = step
    while digits < 6, abs(scaled - scaled.rounded()) > 1e-6 {
      scaled *= 10
      digits += 1
    }
    return Decimal.fixed(tick, digits: digits)
  }
}

/// What a plot is drawn into: a frame with axes, and a legend to its right.
struct PlotFrame {
  static let width = 720.0
  static let height = 340.0

  let left = 64.0
  let right: Double
  let top = 20.0
  let bottom = PlotFrame.height - 52

  init(hasLegend: Bool) { right = Self.width - (hasLegend ? 176 : 20) }

  func y(_ value: Double, _ scale: Scale) -> Double { bottom - value / scale.end * (bottom - top) }

  /// The middle of the slot of a category.
  func x(category: Int, of count: Int) -> Double {
    left + (right - left) * (Double(category) + 0.5) / Double(max(1, count))
  }

  func drawValueAxis(_ drawing: inout SVG, _ scale: Scale, label: String) {
    for tick in scale.ticks {
      let y = y(tick, scale)
      drawing.line((left, y), (right, y), tick == 0 ? "axis" : "grid")
      drawing.text(scale.label(tick), x: left - 8, y: y + 4, .end)
    }
    drawing.text(label, x: 18, y: (top + bottom) / 2, .middle, style: "label", turned: true)
  }

  func drawCategories(_ drawing: inout SVG, _ names: [String], label: String) {
    for (index, name) in names.enumerated() {
      drawing.text(name, x: x(category: index, of: names.count), y: bottom + 18, .middle)
    }
    drawing.text(label, x: (left + right) / 2, y: Self.height - 10, .middle, style: "label")
  }

  func drawLegend(_ drawing: inout SVG, _ entries: [(name: String, style: String)]) {
    for (index, entry) in entries.enumerated() {
      let y = top + 10 + Double(index) * 22
      drawing.line((right + 16, y), (right + 40, y), entry.style)
      drawing.text(entry.name, x: right + 48, y: y + 4)
    }
  }
}

/// Lines over categories: numbers of channels, dirty rates.
struct LinePlot {
  struct Point {
    var category: Int
    var value: Double
    /// Drawn hollow: a bound, not a value.
    var isBound = false
  }

  struct Series {
    var name: String
    var points: [Point]
    /// Drawn dashed: something to compare with.
    var isReference = false
  }

  let title: String
  let categories: [String]
  let categoryLabel: String
  let valueLabel: String
  let series: [Series]

  /// Colours that the page has.
  static let colours = 8

  var element: String {
    var drawing = SVG(width: PlotFrame.width, height: PlotFrame.height, title: title)
    let frame = PlotFrame(hasLegend: true)
    let scale = Scale(upTo: series.flatMap { $0.points.map { $0.value } }.max() ?? 1)
    frame.drawValueAxis(&drawing, scale, label: valueLabel)
    frame.drawCategories(&drawing, categories, label: categoryLabel)
    var legend: [(name: String, style: String)] = []
    for (index, one) in series.enumerated() {
      let style = one.isReference ? "line reference" : "line s\(index % Self.colours)"
      legend.append((one.name, style))
      let places = one.points.map {
        (x: frame.x(category: $0.category, of: categories.count), y: frame.y($0.value, scale))
      }
      if places.count > 1 { drawing.polyline(places, style) }
      for (point, place) in zip(one.points, places) {
        let mark = one.isReference ? "mark reference" : "mark s\(index % Self.colours)"
        drawing.circle(
          place, radius: 4.5, point.isBound ? mark + " bound" : mark,
          hint: "\(one.name), \(categories[point.category]): \(point.isBound ? "more than " : "")"
            + Decimal.fixed(point.value, digits: 3))
      }
    }
    frame.drawLegend(&drawing, legend)
    return drawing.element
  }
}

/// Horizontal bars, a name and a value each.
struct BarPlot {
  let title: String
  let valueLabel: String
  let bars: [(name: String, value: Double)]
  private static let rowHeight = 34.0
  private static let left = 150.0

  var element: String {
    let height = 20 + Double(bars.count) * Self.rowHeight + 48
    var drawing = SVG(width: PlotFrame.width, height: height, title: title)
    let scale = Scale(upTo: bars.map { $0.value }.max() ?? 1)
    let (right, bottom) = (PlotFrame.width - 70, height - 44)
    func x(_ value: Double) -> Double { Self.left + value / scale.end * (right - Self.left) }
    for tick in scale.ticks {
      drawing.line((x(tick), 14), (x(tick), bottom), tick == 0 ? "axis" : "grid")
      drawing.text(scale.label(tick), x: x(tick), y: bottom + 16, .middle)
    }
    drawing.text(valueLabel, x: (Self.left + right) / 2, y: height - 8, .middle, style: "label")
    for (index, bar) in bars.enumerated() {
      let y = 20 + Double(index) * Self.rowHeight
      let value = Decimal.fixed(bar.value, digits: bar.value < 10 ? 3 : 1)
      drawing.text(bar.name, x: Self.left - 10, y: y + 16, .end)
      drawing.rectangle(
        x: Self.left, y: y + 2, width: x(bar.value) - Self.left, height: Self.rowHeight - 14, "bar s0",
        hint: "\(bar.name): \(value)")
      drawing.text(value, x: x(bar.value) + 8, y: y + 16, style: "value")
    }
    return drawing.element
  }
}

/// How often values lie where.
struct Histogram {
  let title: String
  let valueLabel: String
  let countLabel: String
  let values: [Double]
  /// Drawn as a line, where it lies in the range.
  let bound: Double?

  var element: String {
    var drawing = SVG(width: PlotFrame.width, height: PlotFrame.height, title: title)
    let frame = PlotFrame(hasLegend: false)
    // The bins are the axis' own steps: a bar lies between two ticks.
    let across = Scale(upTo: values.max() ?? 1, count: 12)
    let step = across.ticks.count > 1 ? across.ticks[1] : 1
    var counts = [Int](repeating: 0, count: max(1, across.ticks.count - 1))
    for value in values { counts[min(counts.count - 1, max(0, Int(value / step)))] += 1 }
    let most = Double(counts.max() ?? 1)
    let scale = Scale(upTo: most, count: Int(min(5, max(1, most))))
    frame.drawValueAxis(&drawing, scale, label: countLabel)
    func x(_ value: Double) -> Double { frame.left + value / across.end * (frame.right - frame.left) }
    for tick in across.ticks { drawing.text(across.label(tick), x: x(tick), y: frame.bottom + 18, .middle) }
    drawing.text(
      valueLabel, x: (frame.left + frame.right) / 2, y: PlotFrame.height - 10, .middle, style: "label")
    for (index, count) in counts.enumerated() where count > 0 {
      let (from, to) = (across.ticks[index], across.ticks[index + 1])
      let top = frame.y(Double(count), scale)
      drawing.rectangle(
        x: x(from) + 1.5, y: top, width: x(to) - x(from) - 3, height: frame.bottom - top, "bar s0",
        hint: "\(across.label(from)) to \(across.label(to)): \(count)")
    }
    if let bound, bound <= across.end {
      drawing.line((x(bound), frame.top), (x(bound), frame.bottom), "line reference")
      drawing.text("allowed", x: x(bound) - 6, y: frame.top + 12, .end)
    }
    return drawing.element
  }
}
