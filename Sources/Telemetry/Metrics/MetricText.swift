// SPDX-License-Identifier: Apache-2.0

/// The two texts in which metrics are exported.
public enum MetricFormat: Sendable, CaseIterable {
  /// OpenMetrics 1.0.
  case openMetrics
  /// The older text of Prometheus (0.0.4): what node_exporter's textfile collector reads. It has no units, states or
  /// infos, and refuses a file that names one.
  case prometheus

  public var contentType: String {
    switch self {
    case .openMetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
    case .prometheus: "text/plain; version=0.0.4; charset=utf-8"
    }
  }
}

extension OpenMetricsFactory {
  /// All that is registered, as text.
  public func text(_ format: MetricFormat) -> String {
    var text = ""
    let known = Dictionary(uniqueKeysWithValues: Metric.allCases.enumerated().map { ($1.rawValue, $0) })
    let all = families.sorted { first, second in
      (known[first.key] ?? .max, first.key) < (known[second.key] ?? .max, second.key)
    }
    for (name, family) in all {
      MetricText.describe(name, family.kind, Metric(rawValue: name), format, &text)
      for (labels, series) in family.series.sorted(by: { $0.key < $1.key }) {
        MetricText.sample(name, family.kind, labels, series.value, &text)
      }
    }
    return format == .openMetrics ? text + "# EOF\n" : text
  }
}

/// Names, labels and numbers as the texts have them.
enum MetricText {
  static func describe(
    _ name: String, _ kind: Metric.Kind, _ metric: Metric?, _ format: MetricFormat, _ text: inout String
  ) {
    switch format {
    case .openMetrics:
      text += "# TYPE \(name) \(kind.rawValue)\n"
      if let unit = metric?.unit { text += "# UNIT \(name) \(unit)\n" }
      if let metric { text += "# HELP \(name) \(escape(metric.help, quotes: true))\n" }
    case .prometheus:
      // What is described here is the sample's name, and all but counters and summaries are gauges.
      let sample = sampleName(name, kind)
      if let metric { text += "# HELP \(sample) \(escape(metric.help, quotes: false))\n" }
      text += "# TYPE \(sample) \(kind == .counter || kind == .summary ? kind.rawValue : "gauge")\n"
    }
  }

  static func sample(
    _ name: String, _ kind: Metric.Kind, _ labels: String, _ value: MetricSeries.Value, _ text: inout String
  ) {
    if kind == .summary {
      text += "\(name)_count\(labels) \(value.count)\n\(name)_sum\(labels) \(number(value.sum))\n"
    } else {
      text += "\(sampleName(name, kind))\(labels) \(number(value.last))\n"
    }
  }

  private static func sampleName(_ family: String, _ kind: Metric.Kind) -> String {
    switch kind {
    case .counter: family + "_total"
    case .info: family + "_info"
    case .gauge, .stateset, .summary: family
    }
  }

  /// `{a="b",c="d"}`, or nothing.
  static func labels(_ dimensions: [(String, String)]) -> String {
    var names: Set<String> = []
    var parts: [String] = []
    for (name, value) in dimensions {
      let name = identifier(name, colons: false)
      // A label can be there once only.
      guard names.insert(name).inserted else { continue }
      parts.append("\(name)=\"\(escape(value, quotes: true))\"")
    }
    return parts.isEmpty ? "" : "{\(parts.joined(separator: ","))}"
  }

  /// A family's name for a metric of somebody else's, whatever it is called.
  static func familyName(_ label: String, counter: Bool) -> String {
    let name = identifier(label, colons: true)
    // Counters end on _total in the text, and gauges must not look like them.
    return counter && name.hasSuffix("_total") ? String(name.dropLast("_total".count)) : name
  }

  /// Letters, digits and underscores; a digit is not the first.
  private static func identifier(_ text: String, colons: Bool) -> String {
    var name = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "a"..."z", "A"..."Z", "_", "0"..."9": name.unicodeScalars.append(scalar)
      case ":" where colons: name += ":"
      default: name += "_"
      }
    }
    return name.first.map { $0.isNumber } ?? true ? "_" + name : name
  }

  static func escape(_ text: String, quotes: Bool) -> String {
    var escaped = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\\": escaped += "\\\\"
      case "\n": escaped += "\\n"
      case "\"" where quotes: escaped += "\\\""
      default: escaped.unicodeScalars.append(scalar)
      }
    }
    return escaped
  }

  /// Whole numbers without a point, so that counters do not lose digits.
  static func number(_ value: Double) -> String {
    if value.isNaN { return "NaN" }
    if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
    guard let whole = Int64(exactly: value), abs(whole) < 1 << 53 else { return "\(value)" }
    return "\(whole)"
  }
}
