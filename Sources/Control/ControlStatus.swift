// SPDX-License-Identifier: Apache-2.0
public import Migration

/// The answer to `status`: all statistics under their own names, and the settings as one more.
public struct ControlStatus: Sendable, Codable, Equatable {
  public var statistics: MigrationStatistics
  /// By the name of the knob.
  public var settings: [String: JSONValue]

  public init(statistics: MigrationStatistics, settings: [String: JSONValue]) {
    self.statistics = statistics
    self.settings = settings
  }

  private enum CodingKeys: String, CodingKey { case settings }

  public init(from decoder: any Decoder) throws {
    statistics = try MigrationStatistics(from: decoder)
    settings = try decoder.container(keyedBy: CodingKeys.self).decode([String: JSONValue].self, forKey: .settings)
  }

  public func encode(to encoder: any Encoder) throws {
    try statistics.encode(to: encoder)
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(settings, forKey: .settings)
  }
}
