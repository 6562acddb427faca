// SPDX-License-Identifier: Apache-2.0

/// What a benchmark is at, for a display.
public struct BenchProgress: Sendable, Equatable {
  public var step: String
  /// Of a migration: share of the guest's memory that is through, 0 to 1.
  public var fraction: Double?
  public var secondsLeft: Double
}
