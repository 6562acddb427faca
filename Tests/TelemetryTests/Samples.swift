// SPDX-License-Identifier: Apache-2.0
import Convergence
import PageCodecs

@testable import Migration

/// Statistics that say everything there is to say, and some that say little.
enum Sample {
  static func live(
    _ phase: Phase = .active, verdict: String = "cannot-converge", seconds: Double = 12.5, wire: UInt64 = 900_000_000
  ) -> MigrationStatistics {
    var ram = MigrationStatistics.RAM()
    ram.transferred = wire
    ram.remaining = 450 << 20
    ram.total = 1 << 30
    ram.dirtyPagesRate = 90_000
    ram.mbps = 940.5
    ram.pagesPerSecond = 31_000
    ram.dirtySyncCount = 4
    let mebibyte = 1 << 20
    var now = MigrationStatistics(
      status: phase, totalTime: seconds * 1000, setupTime: 31, downtime: phase == .completed ? 88.25 : nil,
      expectedDowntime: 2400, ram: ram,
      xbzrleCache: .init(
        cacheSize: 64 * mebibyte, bytes: 4096, pages: 12, cacheMiss: 990, cacheMissRate: 0.99, encodingRate: 12,
        overflow: 3, hits: 10, cachedPages: 16384),
      peer: "10.0.0.2:4410",
      pages: .init(total: 262_144, notRead: 5, zero: 36_560, data: 109_808, delta: 12, unchanged: 7, deferred: 9))
    var codec = CodecUsage(codec: .none)
    codec.codec = "zstd:1"
    codec.lanes = 2
    codec.bytesIn = 4_000_000
    codec.bytesOut = 1_000_000
    now.codecs = [codec]
    now.lanes = [
      .init(reading: 0.05, encoding: 0.2, blocked: 0.68), .init(reading: 0.05, encoding: 0.2, blocked: 1.02),
    ]
    now.iteration = iterations.last
    now.throttlePercentage = 30
    now.convergence = .init(
      verdict: verdict,
      advice: "cannot converge: dirty 412 MB/s against 118 MB/s; needs a throttle of ~70 %, or 3.9x the bandwidth, "
        + "or a downtime of 2.4 s", dirtyRate: 412e6, wireRate: 117e6, transferRate: 118e6, hotRatio: 1.01,
      workingSet: 512e6, timeToConverge: 3000, reachableDowntime: 2400, neededThrottle: 70, neededBandwidth: 3.9,
      meanThrottle: 12.5, highestThrottle: 40, downtimeLimit: 300, isPaused: false, holds: false)
    return now
  }

  /// A half of a proxy pair.
  static func relay(_ role: MigrationReport.Role, _ phase: Phase = .active) -> MigrationStatistics {
    var now = live(phase)
    (now.convergence, now.throttlePercentage, now.expectedDowntime, now.downtime) = (nil, nil, nil, nil)
    now.iteration = nil
    now.ram.remaining = nil
    var relay = MigrationStatistics.Relay(role: role)
    (relay.mode, relay.connections, relay.openConnections) = (.pages, 3, 2)
    (relay.streamBytes, relay.streamRate, relay.passedBytes, relay.iterations) = (2_000_000_000, 125e6, 4242, 812)
    relay.channelBytes = [400_000_000, 500_000_000]
    if role == .source {
      (relay.receivedPages, relay.supersededPages, relay.heldBytes) = (480_000, 1203, 5 << 20)
      relay.window = .init(used: 3 << 20, limit: 4 << 20, highest: 6 << 20)
    }
    now.relay = relay
    return now
  }

  /// An image, at the start.
  static var still: MigrationStatistics {
    var ram = MigrationStatistics.RAM()
    ram.total = 1 << 30
    ram.remaining = 1 << 30
    return MigrationStatistics(
      status: .setup, totalTime: 3, setupTime: 3, ram: ram, peer: "10.0.0.2:4410", pages: .init(total: 262_144))
  }

  static let iterations = (1...4).map { index in
    IterationReport(
      iteration: index, pendingPages: 262_144 / index, zeroPages: 100, dataPages: 1_234_567, deltaPages: 3,
      unchangedPages: 4, deferredPages: 5, wireBytes: 120_000_000, seconds: 1.25, syncMilliseconds: 2,
      dirtyPagesPerSecond: index == 1 ? 0 : 100_000)
  }

  static var settings: MigrationSettings {
    MigrationSettings(
      bandwidthLimit: 125_000_000, policy: .dirtyLimit, throttle: nil, deadline: 90, deadlineAction: .cancel)
  }
}
