// SPDX-License-Identifier: Apache-2.0

/// How a guest is getting on.
public struct WorkloadStatistics: Sendable, Equatable {
  /// Writes of pages since the guest began, on any host.
  public let writes: UInt64
  /// Writes of pages a second, of late.
  public let pagesPerSecond: Double
  /// Longest time between two writes of one thread, less what it slept to keep its rate: a pause as the guest sees it.
  /// A guest that moved within its host counts the way, one that came from another host does not.
  public let longestGap: Duration
}
