// SPDX-License-Identifier: Apache-2.0

/// What the OpenMetrics 1.0 text format asks for, as far as counters, gauges, summaries, statesets and infos go.
enum OpenMetricsCheck {
  struct Wrong: Error, CustomStringConvertible {
    let description: String
  }

  private static let suffixes: [Substring: [String]] = [
    "counter": ["_total"], "gauge": [""], "stateset": [""], "info": ["_info"], "summary": ["_count", "_sum"],
  ]

  /// - Throws: ``Wrong``, with the line.
  static func check(_ text: String) throws {
    guard text.hasSuffix("\n# EOF\n") || text == "# EOF\n" else { throw Wrong(description: "no end") }
    var family: Substring = ""
    var type: Substring = ""
    var seenFamilies: Set<Substring> = []
    var seenSeries: Set<Substring> = []
    for line in text.dropLast("# EOF\n".count).split(separator: "\n", omittingEmptySubsequences: false).dropLast() {
      func wrong(_ why: String) -> Wrong { Wrong(description: "\(why): \(line)") }
      if line.hasPrefix("#") {
        let words = line.split(separator: " ", maxSplits: 3)
        guard words.count == 4, ["TYPE", "UNIT", "HELP"].contains(words[1]) else { throw wrong("not a description") }
        if words[1] == "TYPE" {
          guard seenFamilies.insert(words[2]).inserted, suffixes[words[3]] != nil else { throw wrong("type") }
          (family, type) = (words[2], words[3])
        }
        guard words[2] == family else { throw wrong("of another family") }
        if words[1] == "UNIT", !family.hasSuffix("_" + words[3]) { throw wrong("the name does not end with it") }
        if words[1] == "HELP", !isEscaped(words[3], quotes: true) { throw wrong("not escaped") }
        continue
      }
      guard let series = line.lastIndex(of: " ").map({ line[..<$0] }) else { throw wrong("no value") }
      let value = line[line.index(after: series.endIndex)...]
      guard Double(value) != nil || ["NaN", "+Inf", "-Inf"].contains(value) else { throw wrong("not a number") }
      let name = series.prefix { $0 != "{" }
      guard !family.isEmpty, suffixes[type, default: []].contains(where: { name == family + $0 }) else {
        throw wrong("not a sample of \(family)")
      }
      guard seenSeries.insert(series).inserted else { throw wrong("twice") }
      if type == "stateset", !series.contains("\(family)=\"") { throw wrong("no state") }
      try checkLabels(series.dropFirst(name.count), wrong)
    }
  }

  private static func checkLabels(_ text: Substring, _ wrong: (String) -> Wrong) throws {
    guard !text.isEmpty else { return }
    guard text.first == "{", text.last == "}" else { throw wrong("labels") }
    var rest = text.dropFirst().dropLast()
    var names: Set<Substring> = []
    while true {
      let name = rest.prefix { $0 != "=" }
      guard name.wholeMatch(of: /[a-zA-Z_][a-zA-Z0-9_]*/) != nil, names.insert(name).inserted else {
        throw wrong("label's name '\(name)'")
      }
      rest = rest.dropFirst(name.count)
      guard rest.hasPrefix("=\"") else { throw wrong("label without a value") }
      rest = rest.dropFirst(2)
      var value = ""
      while let next = rest.first, next != "\"" {
        let step = next == "\\" ? 2 : 1
        value += rest.prefix(step)
        rest = rest.dropFirst(step)
      }
      guard isEscaped(value[...], quotes: true), rest.first == "\"" else { throw wrong("label's value") }
      rest = rest.dropFirst()
      if rest.isEmpty { return }
      guard rest.first == "," else { throw wrong("labels are divided by commas") }
      rest = rest.dropFirst()
    }
  }

  /// Whether backslashes come only in front of what may be escaped.
  private static func isEscaped(_ text: Substring, quotes: Bool) -> Bool {
    var rest = text
    while let next = rest.first {
      rest = rest.dropFirst()
      guard next == "\\" else { continue }
      guard let escaped = rest.first, "\\n\"".contains(escaped) else { return false }
      rest = rest.dropFirst()
    }
    return true
  }
}
