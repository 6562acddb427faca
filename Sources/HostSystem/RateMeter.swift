// SPDX-License-Identifier: Apache-2.0
import Synchronization

/// How fast a number grows, over the last couple of seconds: each time that it is asked, it takes a sample.
public final class RateMeter: Sendable {
  private static let window: UInt64 = 2_500_000_000
  /// Samples closer together than this say nothing.
  private static let interval: UInt64 = 50_000_000

  private struct Sample {
    var at = HostClock.now()
    var count: UInt64
  }

  private let samples: Mutex<[Sample]>

  /// - Parameter count: what the number is now.
  public init(_ count: UInt64 = 0) { samples = Mutex([Sample(count: count)]) }

  /// Forgets what was: the number begins anew, at zero.
  public func restart() { samples.withLock { $0 = [Sample(count: 0)] } }

  /// The growth per second, given what the number is now. It may wrap round.
  public func rate(_ count: UInt64) -> Double {
    samples.withLock { samples in
      let now = Sample(count: count)
      if let last = samples.last, samples.count == 1 || now.at - min(now.at, last.at) >= Self.interval {
        samples.append(now)
      }
      while samples.count > 2, samples[1].at + Self.window < now.at { samples.removeFirst() }
      guard let first = samples.first, now.at > first.at else { return 0 }
      return Double(count &- first.count) * 1e9 / Double(now.at - first.at)
    }
  }
}
