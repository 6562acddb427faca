// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Synchronization

/// How fast bytes and pages go, over the last couple of seconds: as often as it is asked, it takes a sample.
final class RateMeter: Sendable {
  private static let window: UInt64 = 2_500_000_000
  /// Samples closer together than this say nothing.
  private static let interval: UInt64 = 50_000_000

  struct Rate {
    var bytesPerSecond = 0.0
    var pagesPerSecond = 0.0
  }

  private struct Sample {
    var at = HostClock.now()
    var bytes: UInt64 = 0
    var pages: UInt64 = 0
  }

  private let samples = Mutex([Sample()])

  /// Forgets what was: a receiver's clock starts when a source comes.
  func restart() { samples.withLock { $0 = [Sample()] } }

  /// The rate now, given the totals now.
  func rate(bytes: UInt64, pages: UInt64) -> Rate {
    let now = Sample(at: HostClock.now(), bytes: bytes, pages: pages)
    return samples.withLock { samples in
      if let last = samples.last, samples.count == 1 || now.at - min(now.at, last.at) >= Self.interval {
        samples.append(now)
      }
      while samples.count > 2, samples[1].at + Self.window < now.at { samples.removeFirst() }
      guard let first = samples.first, now.at > first.at else { return Rate() }
      let seconds = Double(now.at - first.at) / 1e9
      return Rate(
        bytesPerSecond: Double(bytes - min(bytes, first.bytes)) / seconds,
        pagesPerSecond: Double(pages - min(pages, first.pages)) / seconds)
    }
  }
}
