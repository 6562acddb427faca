// SPDX-License-Identifier: Apache-2.0
import Glibc
import PageModel

/// Which options to use between these two hosts, and why.
public struct Recommendation: Sendable, Codable, Equatable {
  /// Options, the best first.
  public var ranking: [Ranked]
  /// What to use: the first of the ranking, unless the defaults are as good.
  public var options: Cell.Options
  public var baseline: Cell.Options
  /// How many times as fast as the defaults; nil if these were not measured.
  public var speedup: Double?
  /// What limits it then, with paused content.
  public var limit: LimitingResource
  public var advice: String

  /// Options, and what they came to.
  public struct Ranked: Sendable, Codable, Equatable {
    public var options: Cell.Options
    /// Time, of that of the defaults: the geometric mean over what was measured with both.
    public var relativeTime: Double
    /// Guests that were moved this way.
    public var scenarios: Int
    /// Seconds with the first scenario.
    public var seconds: Double
  }

  /// What is compared with, for a sentence.
  public var baselineName: String {
    let defaults = Cell.Options(codec: "auto", channels: 2, workers: 0)
    return baseline == defaults ? "the defaults" : baseline.commandLine
  }

  /// How much faster than that it is, for a sentence; nil if nobody knows.
  public var gain: String? {
    speedup.map { speedup in
      speedup > 1 / (1 - Self.noise)
        ? "\(Decimal.fixed(speedup, digits: 2)) times as fast as \(baselineName)"
        : "nothing is clearly faster than \(baselineName)"
    }
  }

  /// Less than this share faster is not faster: runs differ by as much.
  public static let noise = 0.05

  /// - Returns: nil if no cell of the baseline's scenario, nor of any other, was completed.
  public init?(_ cells: [CellResult], baseline: Cell, areSame: Bool) {
    self.baseline = baseline.options
    guard let scenario = Self.mainScenario(cells, baseline) else { return nil }
    var reference: [Cell.Scenario: CellResult] = [:]
    for cell in cells where cell.cell.options == baseline.options { reference[cell.cell.scenario] = cell }
    let hasReference = reference[scenario]?.isCompleted == true
    let groups = Dictionary(grouping: cells) { $0.cell.options }
    ranking = groups.values.compactMap { Self.rank($0, scenario, hasReference ? reference : [:]) }
      .sorted {
        ($0.relativeTime, $0.seconds, $0.options.commandLine) < ($1.relativeTime, $1.seconds, $1.options.commandLine)
      }
    guard let first = ranking.first else { return nil }
    let own = ranking.first { $0.options == baseline.options }
    // Of those that are as good as the first, the one that needs the fewest options.
    let best =
      ranking.filter {
        $0.relativeTime * (1 - Self.noise) <= first.relativeTime && $0.seconds * (1 - Self.noise) <= first.seconds
      }
      .min { $0.options.differences(from: baseline.options) < $1.options.differences(from: baseline.options) } ?? first
    options = best.options
    speedup = hasReference ? own.map { $0.relativeTime / best.relativeTime } : nil
    let chosen = cells.first { $0.cell.options == best.options && $0.cell.scenario == scenario }
    limit = chosen?.limit ?? .unclear
    advice = Advice.sentence(limit, codec: best.options.codec, areSame: areSame)
  }

  /// What options are compared by: the baseline's scenario, or the one with most cells.
  private static func mainScenario(_ cells: [CellResult], _ baseline: Cell) -> Cell.Scenario? {
    let completed = cells.filter { $0.isCompleted }
    if completed.contains(where: { $0.cell.scenario == baseline.scenario }) { return baseline.scenario }
    let counts = Dictionary(grouping: completed) { $0.cell.scenario }
    return counts.max { left, right in
      (left.value.count, right.key.dirtyRate, right.key.content) < (
        right.value.count, left.key.dirtyRate, left.key.content
      )
    }?.key
  }

  /// Nil for options that did not move the main scenario's guest, or failed where the defaults did not.
  private static func rank(
    _ cells: [CellResult], _ scenario: Cell.Scenario, _ reference: [Cell.Scenario: CellResult]
  ) -> Ranked? {
    guard let main = cells.first(where: { $0.cell.scenario == scenario }), main.isCompleted else { return nil }
    guard !reference.isEmpty else {
      return Ranked(options: main.cell.options, relativeTime: 1, scenarios: 1, seconds: main.median.seconds)
    }
    var logarithms = 0.0
    var count = 0
    for cell in cells {
      guard let other = reference[cell.cell.scenario] else { continue }
      if !cell.isCompleted && other.isCompleted { return nil }
      if !cell.isCompleted { continue }
      // One that the defaults did not manage counts with the time after which they were stopped.
      logarithms += log(max(cell.median.seconds, 1e-9) / max(other.median.seconds, 1e-9))
      count += 1
    }
    guard count > 0 else { return nil }
    return Ranked(
      options: main.cell.options, relativeTime: exp(logarithms / Double(count)), scenarios: count,
      seconds: main.median.seconds)
  }
}

extension Cell.Options {
  fileprivate func differences(from other: Cell.Options) -> Int {
    [codec != other.codec, channels != other.channels, workers != other.workers].count { $0 }
  }
}

/// One plain sentence on what to do about a limit.
enum Advice {
  static func sentence(_ limit: LimitingResource, codec: String, areSame: Bool) -> String {
    switch limit {
    case .link:
      areSame
        ? "The connection is as full as plain TCP gets it; both ends are on this host, and two hosts may have another limit."
        : "The link is full: only fewer bytes (a stronger codec, if CPUs are free) or a faster link move memory faster."
    case .sourceCPU where areSame:
      "The CPUs are the limit, most of all for sending; both sides share them here, so two hosts will do better."
    case .sourceCPU where codec == "none":
      "The source's CPUs are the limit although nothing is encoded: only more CPUs for the sender help."
    case .sourceCPU:
      "The source's CPUs are the limit: a lighter codec, or more CPUs for the sender, move memory faster."
    case .destinationCPU where areSame:
      "The CPUs are the limit, most of all for receiving; both sides share them here, so two hosts will do better."
    case .destinationCPU:
      "The destination's CPUs are the limit: more channels spread its work over more CPUs, a lighter codec makes it less."
    case .population:
      "The destination's fresh memory is the limit: more channels, or transparent huge pages there, fault it in faster."
    case .roundTrips:
      "Round trips are the limit: there is little memory for such a distance; fewer channels are set up sooner."
    case .unclear:
      "Nothing was busy most of the time: try more channels, and look for other work on the hosts and the link."
    }
  }
}
