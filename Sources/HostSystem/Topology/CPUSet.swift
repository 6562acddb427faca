// SPDX-License-Identifier: Apache-2.0

/// A set of CPUs (or of NUMA nodes: the kernel lists both alike), written as Linux does: `0-3,8,10-11`.
public struct CPUSet: Sendable, Hashable, CustomStringConvertible, ExpressibleByArrayLiteral {
  /// The numbers in it, ascending.
  public let numbers: [Int]

  /// The largest number that a list may name: Linux knows at most 8192 CPUs.
  public static let numberMax = 8191

  /// A set of `numbers`, in any order; those below zero or above ``numberMax`` are left out.
  public init(_ numbers: some Sequence<Int>) {
    self.numbers = Set(numbers.filter { (0...Self.numberMax).contains($0) }).sorted()
  }

  public init(arrayLiteral elements: Int...) { self.init(elements) }

  /// Reads a list of numbers and ranges.
  ///
  /// Spaces and line ends around it are ignored, an empty list is an empty set. Numbers may come in any order, and twice.
  public init(parsing text: String) throws(CPUListError) {
    var found = Set<Int>()
    let list = text.trimmed
    if !list.isEmpty {
      for part in list.split(separator: ",", omittingEmptySubsequences: false) {
        found.formUnion(try Self.range(part))
      }
    }
    numbers = found.sorted()
  }

  private static func range(_ part: Substring) throws(CPUListError) -> ClosedRange<Int> {
    let ends = part.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
    let first = try number(ends[0], of: part)
    guard ends.count == 2 else { return first...first }
    let last = try number(ends[1], of: part)
    guard first <= last else { throw .descending(part: CPUListError.excerpt(part)) }
    return first...last
  }

  private static func number(_ digits: Substring, of part: Substring) throws(CPUListError) -> Int {
    guard !digits.isEmpty, digits.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else {
      throw .notANumber(part: CPUListError.excerpt(part))
    }
    guard let number = Int(digits), number <= numberMax else {
      throw .tooLarge(part: CPUListError.excerpt(part), allowed: numberMax)
    }
    return number
  }

  public var isEmpty: Bool { numbers.isEmpty }
  public var count: Int { numbers.count }
  public func contains(_ number: Int) -> Bool { numbers.contains(number) }

  public func intersection(_ other: CPUSet) -> CPUSet {
    let others = Set(other.numbers)
    return CPUSet(numbers.filter { others.contains($0) })
  }

  public func subtracting(_ other: CPUSet) -> CPUSet {
    let others = Set(other.numbers)
    return CPUSet(numbers.filter { !others.contains($0) })
  }

  public func union(_ other: CPUSet) -> CPUSet { CPUSet(numbers + other.numbers) }

  /// `0-3,8`; nothing for the empty set.
  public var description: String {
    var parts: [ClosedRange<Int>] = []
    for number in numbers {
      if let last = parts.last, last.upperBound + 1 == number {
        parts[parts.count - 1] = last.lowerBound...number
      } else {
        parts.append(number...number)
      }
    }
    return parts.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }
      .joined(separator: ",")
  }
}

/// Why a list of CPUs was refused: each says which part of it is wrong.
public enum CPUListError: Error, Equatable, CustomStringConvertible {
  case notANumber(part: String)
  case descending(part: String)
  case tooLarge(part: String, allowed: Int)

  public var description: String {
    switch self {
    case .notANumber(let part): "'\(part)' is neither a number nor a range: a list looks like 0-3,8,10-11"
    case .descending(let part): "the range '\(part)' ends before it begins"
    case .tooLarge(let part, let allowed): "'\(part)': the largest number that Linux has is \(allowed)"
    }
  }

  /// Enough of a part to find it by, fit to be printed.
  static func excerpt(_ part: Substring) -> String {
    let shown = part.unicodeScalars.prefix(24).map { $0.properties.generalCategory == .control ? "?" : String($0) }
    return shown.joined() + (part.unicodeScalars.count > 24 ? "…" : "")
  }
}

extension String {
  /// Without spaces and line ends before and after it.
  var trimmed: Substring {
    let rest = drop { $0.isWhitespace }
    guard let last = rest.lastIndex(where: { !$0.isWhitespace }) else { return "" }
    return rest[...last]
  }
}
