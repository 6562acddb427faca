// SPDX-License-Identifier: Apache-2.0

/// Which pages a guest writes, and how much of each.
public enum WorkloadPattern: Sendable, Equatable, CustomStringConvertible {
  /// None: the guest has memory and does nothing.
  case idle
  /// Three places of 8 bytes in a page, pages in random order.
  case sparse
  /// Whole pages in random order.
  case pages
  /// Whole pages one after another, from the first again after the last.
  case sequential
  /// As `sparse`, but the page of rank *r* is written about 1/*r* times as often as the first (Zipf).
  case hot
  /// Whole pages of a working set that grows from nothing to its full size: fresh pages first, which were zero, then
  /// any of those in use.
  case growing(seconds: Int)

  /// What ``growing(seconds:)`` may take.
  public static let growthSeconds = 1...86_400
  /// What `growing` takes when nothing is said.
  public static let defaultGrowthSeconds = 60
  /// What ``init(parsing:)`` knows, for help texts.
  public static let names = ["idle", "sparse", "pages", "sequential", "hot", "growing[:SECONDS]"]

  /// Reads `idle`, `sparse`, `pages`, `sequential`, `hot`, `growing` or `growing:SECONDS`.
  public init(parsing text: String) throws(WorkloadError) {
    switch text {
    case "idle": self = .idle
    case "sparse": self = .sparse
    case "pages": self = .pages
    case "sequential": self = .sequential
    case "hot": self = .hot
    case "growing": self = .growing(seconds: Self.defaultGrowthSeconds)
    default:
      guard text.hasPrefix("growing:") else { throw .unknownPattern(found: text) }
      let number = String(text.dropFirst("growing:".count))
      // Digits only: Int's own initialiser would take a sign.
      guard number.utf8.allSatisfy({ (48...57).contains($0) }), let seconds = Int(number),
        Self.growthSeconds.contains(seconds)
      else { throw .badGrowth(found: number, allowed: Self.growthSeconds) }
      self = .growing(seconds: seconds)
    }
  }

  public var description: String {
    switch self {
    case .idle: "idle"
    case .sparse: "sparse"
    case .pages: "pages"
    case .sequential: "sequential"
    case .hot: "hot"
    case .growing(let seconds): "growing:\(seconds)"
    }
  }

  /// Whether a write replaces all of a page.
  var writesWholePages: Bool {
    switch self {
    case .idle, .sparse, .hot: false
    case .pages, .sequential, .growing: true
    }
  }
}

extension WorkloadPattern: Codable {
  public init(from decoder: any Decoder) throws {
    try self.init(parsing: decoder.singleValueContainer().decode(String.self))
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}
