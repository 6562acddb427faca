// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials

/// Everything that a benchmark found. `docs/BENCH.md` documents the JSON.
///
/// Units are in the names, or: bytes, seconds, bytes a second.
public struct BenchReport: Sendable, Codable {
  /// Changes when a field changes its meaning or goes; new fields may appear without it.
  public var schema = 1
  public var peer: String
  public var budgetSeconds: Double
  public var seconds: Double
  public var memory: UInt64
  public var seed: UInt64
  public var axes: Axes
  public var client: HostDescription
  public var server: HostDescription?
  public var sameHost: Bool
  /// The median of what a line and its answer took, on an idle link.
  public var roundTripSeconds: Double
  public var link: [LinkFigures]
  public var clientFigures: HostFigures?
  public var serverFigures: HostFigures?
  /// In the order in which they were first tried.
  public var cells: [CellResult]
  public var skipped: [SkippedCell]
  /// Nil if nothing was moved.
  public var recommendation: Recommendation?
  /// Why it ended before its time.
  public var failure: Failure?

  public struct Failure: Sendable, Codable {
    /// An exit code, and its name.
    public var code: UInt16
    public var name: String
    public var reason: String
    public var fromPeer: Bool
  }

  /// One document.
  public func json() -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    guard let data = try? encoder.encode(self) else { return "{}" }
    return String(decoding: data, as: UTF8.self)
  }
}
