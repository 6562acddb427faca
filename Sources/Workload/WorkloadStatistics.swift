// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Synchronization

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

/// Makes a rate of a number that grows, whenever somebody asks.
final class RateMeter: Sendable {
  /// A rate over less time than this would say nothing.
  private static let window: UInt64 = 100_000_000

  private struct Sample {
    var time: UInt64
    var count: UInt64
    var rate = 0.0
  }

  private let sample: Mutex<Sample>

  init(_ count: UInt64) { sample = Mutex(Sample(time: HostClock.now(), count: count)) }

  func rate(_ count: UInt64) -> Double {
    sample.withLock { sample in
      let now = HostClock.now()
      if now - sample.time >= Self.window {
        sample.rate = Double(count &- sample.count) / Double(now - sample.time) * 1e9
        sample.time = now
        sample.count = count
      }
      return sample.rate
    }
  }
}
