// SPDX-License-Identifier: Apache-2.0

/// What is wrong with the command line, as a sentence.
struct UsageError: Error {
  let message: String
}

/// The arguments of a subcommand: words, and `--name value` in any order.
struct Options {
  /// What is not an option.
  let words: [String]
  private let values: [String: String]

  /// - Parameter names: the options there are, without their dashes.
  init(_ arguments: some Sequence<String>, names: Set<String>) throws(UsageError) {
    var words: [String] = []
    var values: [String: String] = [:]
    var rest = Array(arguments)[...]
    while let argument = rest.popFirst() {
      guard argument.hasPrefix("--") else {
        words.append(argument)
        continue
      }
      let name = String(argument.dropFirst(2))
      guard names.contains(name) else { throw UsageError(message: "there is no option \(argument) here") }
      guard let value = rest.popFirst() else { throw UsageError(message: "\(argument) takes a value") }
      values[name] = value
    }
    self.words = words
    self.values = values
  }

  func text(_ name: String) -> String? { values[name] }

  /// The parts of `a,b,c`.
  func list(_ name: String, default standard: [String]) -> [String] {
    values[name].map { $0.split(separator: ",").map(String.init) } ?? standard
  }

  func number(_ name: String, default standard: Int, in allowed: ClosedRange<Int>) throws(UsageError) -> Int {
    guard let text = values[name] else { return standard }
    return try Self.number(text, name, in: allowed)
  }

  func numbers(_ name: String, default standard: [Int], in allowed: ClosedRange<Int>) throws(UsageError) -> [Int] {
    guard values[name] != nil else { return standard }
    var numbers: [Int] = []
    for text in list(name, default: []) { numbers.append(try Self.number(text, name, in: allowed)) }
    return numbers
  }

  private static func number(_ text: String, _ name: String, in allowed: ClosedRange<Int>) throws(UsageError) -> Int {
    guard let number = Int(text), allowed.contains(number) else {
      throw UsageError(
        message: "--\(name): '\(text)' is not a whole number from \(allowed.lowerBound) to \(allowed.upperBound)")
    }
    return number
  }
}
