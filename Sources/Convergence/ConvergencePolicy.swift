// SPDX-License-Identifier: Apache-2.0

/// What is done about a guest that writes faster than its memory is sent. Policies can be combined, and changed while
/// the migration runs; none of them means that the guest is left alone and iterations go on.
public struct ConvergencePolicy: OptionSet, Sendable, CustomStringConvertible {
  public let rawValue: UInt8
  public init(rawValue: UInt8) { self.rawValue = rawValue }

  /// Throttle the guest in steps, as QEMU's `auto-converge` does.
  public static let autoConverge = ConvergencePolicy(rawValue: 1)
  /// Hold what the guest writes at a share of what is sent, with as little throttling as that takes.
  public static let dirtyLimit = ConvergencePolicy(rawValue: 2)
  /// Begin with a short downtime, and allow more in steps, up to the limit, when iterations bring nothing.
  public static let downtimeRamp = ConvergencePolicy(rawValue: 4)
  /// When iterations bring nothing, take a moment that is better than those before, even above the limit (at most three
  /// times it).
  public static let localMinimum = ConvergencePolicy(rawValue: 8)

  /// Whether the guest may be throttled.
  public var throttles: Bool { !isDisjoint(with: [.autoConverge, .dirtyLimit]) }

  /// By name, in the order of output.
  public static let names: [(name: String, policy: ConvergencePolicy)] = [
    ("auto-converge", .autoConverge), ("dirty-limit", .dirtyLimit), ("downtime-ramp", .downtimeRamp),
    ("local-minimum", .localMinimum),
  ]

  /// Reads `none`, or names with commas in between; nil for anything else.
  public init?(_ text: String) {
    self = []
    if text == "none" { return }
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      guard let known = Self.names.first(where: { $0.name == part }) else { return nil }
      insert(known.policy)
    }
  }

  public var description: String {
    isEmpty ? "none" : Self.names.filter { contains($0.policy) }.map { $0.name }.joined(separator: ",")
  }
}

extension ConvergencePolicy: Codable {
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    let text = try container.decode(String.self)
    guard let policy = Self(text) else {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "no policy: '\(text)'")
    }
    self = policy
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}
