// SPDX-License-Identifier: Apache-2.0
public import Migration
import PageModel

/// A setting that can be changed while a migration runs: how it is called, read, printed and explained.
public struct Knob: Sendable {
  /// Sets it. Cannot fail: values are checked before.
  public typealias Change = @Sendable (inout MigrationSettings) -> Void

  /// What became of a value that somebody typed.
  enum Parsed: Sendable {
    case change(Change)
    /// It is none that this knob takes, for a reason that ``Knob/takes`` does not say, if there is one.
    case wrong(String? = nil)
  }

  /// What a number of it counts.
  public enum Unit: String, Sendable {
    case none = ""
    case percent = "%"
    case milliseconds = "ms"
    case seconds = "s"
    case bytes = "B"
    case bytesPerSecond = "B/s"
  }

  public let name: String
  public let unit: Unit
  /// Which values it takes, for people.
  public let takes: String
  public let meaning: String
  /// What it is now; as text, it can be parsed again.
  public let value: @Sendable (MigrationSettings) -> JSONValue
  let parse: @Sendable (String) -> Parsed

  init(
    _ name: String, unit: Unit = .none, takes: String, _ meaning: String,
    value: @escaping @Sendable (MigrationSettings) -> JSONValue,
    parse: @escaping @Sendable (String) -> Parsed
  ) {
    self.name = name
    self.unit = unit
    self.takes = takes
    self.meaning = meaning
    self.value = value
    self.parse = parse
  }

  /// A value with its unit, for people.
  public func printed(_ value: JSONValue) -> String {
    let text = value.text ?? "–"
    guard case .integer(let number) = value else { return text }
    switch unit {
    case .none: return text
    case .percent, .milliseconds, .seconds: return "\(text) \(unit.rawValue)"
    case .bytes: return ByteCount.format(Double(number))
    case .bytesPerSecond: return number == 0 ? "none" : ByteCount.format(Double(number)) + "/s"
    }
  }

  /// Reads a value.
  /// - Throws: one line that says what it takes.
  public func change(to value: JSONValue) throws(SettingError) -> Change {
    guard let typed = value.text?.lowercasedWithoutMargins else {
      throw SettingError("\(name): takes \(takes), not a list or an object")
    }
    switch parse(typed) {
    case .change(let change): return change
    case .wrong(let reason?): throw SettingError("\(name): \(reason.printable)")
    case .wrong(nil): throw SettingError("\(name): takes \(takes), not '\(typed.printable)'")
    }
  }

  /// Reads several, all of them or none.
  /// - Throws: one line about the first, by name, that is wrong.
  public static func change(_ values: [String: JSONValue]) throws(SettingError) -> Change {
    var read: [Change] = []
    for (name, value) in values.sorted(by: { $0.key < $1.key }) {
      guard let knob = all.first(where: { $0.name == name }) else {
        throw SettingError(
          "'\(name.printable)' is no setting; there are \(all.map { $0.name }.joined(separator: ", "))")
      }
      read.append(try knob.change(to: value))
    }
    let changes = read
    return { settings in for change in changes { change(&settings) } }
  }

  /// What all knobs are now, by name.
  public static func values(_ settings: MigrationSettings) -> [String: JSONValue] {
    all.reduce(into: [:]) { $0[$1.name] = $1.value(settings) }
  }
}

extension String {
  /// The beginning of it on one line, for an answer about it.
  var printable: String {
    let shown = unicodeScalars.prefix(200).map { $0.value >= 0x20 && $0.value < 0x7F ? Character($0) : "?" }
    return String(shown) + (unicodeScalars.count > 200 ? "…" : "")
  }

  /// Names and units are the same in capitals, and spaces around them mean nothing.
  fileprivate var lowercasedWithoutMargins: String {
    let lower = lowercased()
    guard let first = lower.firstIndex(where: { $0 != " " }), let last = lower.lastIndex(where: { $0 != " " }) else {
      return ""
    }
    return String(lower[first...last])
  }
}
