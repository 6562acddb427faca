// SPDX-License-Identifier: Apache-2.0
import Convergence
import FoundationEssentials
public import Migration

/// What `/status.json` says: the statistics, what happened so far, and how the live page words it.
public struct StatusDocument: Sendable, Encodable {
  /// Changes when a field changes its meaning or goes; new fields may appear without it.
  public var schema = 1
  public var session: String
  public var statistics: MigrationStatistics
  /// Of a source: what holds now, by name.
  public var settings: [Setting]
  /// Oldest first; of more than 200, the first and the latest.
  public var iterations: [IterationReport]
  public var history: Columns
  /// The page's figures, by the identifier of their place, and the table of iterations.
  public var page: LiveFigures

  public struct Setting: Sendable, Codable, Equatable {
    public var name: String
    public var value: String

    public init(_ name: String, _ value: String) {
      self.name = name
      self.value = value
    }
  }

  /// Samples, column by column: less than half the text of an object each.
  public struct Columns: Sendable, Codable, Equatable {
    public var seconds: [Double] = []
    /// Bytes per second.
    public var dirtyRate: [Double?] = []
    public var wireRate: [Double?] = []
    public var transferRate: [Double?] = []
    /// Percent.
    public var throttle: [Double?] = []
    /// Milliseconds.
    public var expectedDowntime: [Double?] = []
    public var downtimeLimit: [Double?] = []
    /// Bytes.
    public var remaining: [Double?] = []
    /// Bytes per second.
    public var streamRate: [Double?] = []

    public init(_ history: History) {
      for sample in history.all {
        seconds.append((sample.seconds * 100).rounded() / 100)
        dirtyRate.append(sample.dirtyRate?.rounded())
        wireRate.append(sample.wireRate.rounded())
        transferRate.append(sample.transferRate?.rounded())
        throttle.append(sample.throttle?.rounded())
        expectedDowntime.append(sample.expectedDowntime.map { ($0 * 10).rounded() / 10 })
        downtimeLimit.append(sample.downtimeLimit.map { ($0 * 10).rounded() / 10 })
        remaining.append(sample.remaining)
        streamRate.append(sample.streamRate?.rounded())
      }
    }
  }

  /// As JSON.
  public var json: String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    // No figure is worth a page that does not load.
    encoder.nonConformingFloatEncodingStrategy = .convertToString(
      positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
    guard let data = try? encoder.encode(self) else { return "{}" }
    return String(decoding: data, as: UTF8.self)
  }
}

extension StatusDocument.Setting {
  /// What `settings` say, as an operator would type it.
  static func all(_ settings: MigrationSettings, of now: MigrationStatistics) -> [StatusDocument.Setting] {
    func rate(_ value: UInt64) -> String { value == 0 ? "no limit" : LiveFigures.rate(Double(value)) }
    if now.relay != nil {
      // The others are the hypervisor's.
      return [
        .init("codec", "\(settings.codec)"), .init("workers", "\(settings.workers)"),
        .init("delta cache", "\(settings.deltaCache)"), .init("bandwidth", rate(settings.bandwidthLimit)),
      ]
    }
    var all: [StatusDocument.Setting] = [
      .init("policy", "\(settings.policy)"), .init("codec", "\(settings.codec)"),
      .init("workers", "\(settings.workers)"), .init("delta cache", "\(settings.deltaCache)"),
      .init("bandwidth", rate(settings.bandwidthLimit)),
    ]
    if settings.switchoverBandwidth > 0 {
      all.append(.init("bandwidth while paused", rate(settings.switchoverBandwidth)))
    }
    all.append(.init("downtime limit", LiveFigures.milliseconds(settings.downtimeLimit)))
    if settings.policy.throttles {
      all.append(.init("most that policies throttle", "\(mostThrottle(settings)) %"))
    }
    if let throttle = settings.throttle { all.append(.init("throttle, set by hand", "\(throttle) %")) }
    if let deadline = settings.deadline {
      all.append(.init("deadline", "\(LiveFigures.duration(deadline)), then \(settings.deadlineAction.rawValue)"))
    }
    if settings.holds { all.append(.init("hand-over", "held")) }
    return all
  }

  private static func mostThrottle(_ settings: MigrationSettings) -> Int {
    settings.policy.contains(.dirtyLimit) ? settings.dirtyLimit.limit : settings.autoConverge.limit
  }
}
