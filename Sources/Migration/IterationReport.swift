// SPDX-License-Identifier: Apache-2.0

/// What one iteration did.
public struct IterationReport: Sendable, Codable, Equatable {
  /// From 1, the bulk stage.
  public var iteration: Int
  /// Pages that were pending when it began.
  public var pendingPages: Int
  /// What became of them, and of those that were dirtied just before they were read.
  public var zeroPages: UInt64 = 0
  public var dataPages: UInt64 = 0
  public var deltaPages: UInt64 = 0
  public var unchangedPages: UInt64 = 0
  /// Pages of hot spans that were left for the end of the iteration, or for the next.
  public var deferredPages: UInt64 = 0
  public var wireBytes: UInt64 = 0
  /// From its begin until the destination acknowledged it.
  public var seconds: Double = 0
  /// Looking at the dirty log before it.
  public var syncMilliseconds: Double = 0
  /// What the guest dirtied per second in the time before it.
  public var dirtyPagesPerSecond: Double = 0
  /// Pages that the delta cache was asked for.
  public var cacheHits: UInt64 = 0
  public var cacheMisses: UInt64 = 0
  /// Share of its time that the guest could not run when it ended, in percent.
  public var throttlePercent = 0
  /// What the downtime would have been at its begin, in ms; nil for the first.
  public var expectedDowntime: Double?

  /// Pages that it dealt with.
  public var donePages: UInt64 { zeroPages + dataPages + deltaPages + unchangedPages }
}
