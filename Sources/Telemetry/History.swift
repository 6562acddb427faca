// SPDX-License-Identifier: Apache-2.0
import Migration

/// What a migration did over time: at most ``sampleCountMax`` samples, however long it takes. When they are used up,
/// every other one is dropped, and from then on half as many are taken.
public struct History: Sendable {
  public static let sampleCountMax = 600

  public struct Sample: Sendable, Equatable {
    /// Since the migration began.
    public var seconds: Double
    /// Bytes of guest memory, and of the wire, per second; nil where it is not known.
    public var dirtyRate: Double?
    public var wireRate: Double
    public var transferRate: Double?
    /// Percent.
    public var throttle: Double?
    /// Milliseconds.
    public var expectedDowntime: Double?
    public var downtimeLimit: Double?
    /// Bytes.
    public var remaining: Double?
    /// Of a hypervisor's stream, bytes per second.
    public var streamRate: Double?
  }

  private var samples: [Sample] = []
  /// The newest, which may not be one of those that are kept.
  private var latest: Sample?
  /// One of so many is kept, and how many came since the last one that was.
  private(set) var stride = 1
  private var skipped = 0

  public init() {}

  /// Oldest first; the newest is always the last.
  public var all: [Sample] { samples + (latest.map { [$0] } ?? []) }

  public mutating func append(_ sample: Sample) {
    skipped += 1
    guard skipped >= stride else {
      latest = sample
      return
    }
    skipped = 0
    latest = nil
    samples.append(sample)
    // One place is the newest's.
    guard samples.count == Self.sampleCountMax - 1 else { return }
    samples = samples.enumerated().filter { $0.offset.isMultiple(of: 2) }.map { $0.element }
    stride *= 2
  }
}

extension History.Sample {
  init(_ now: MigrationStatistics, settings: MigrationSettings?) {
    self.init(
      seconds: now.totalTime / 1000, dirtyRate: now.dirtyBytesPerSecond, wireRate: now.ram.mbps * 1e6 / 8,
      transferRate: now.convergence?.transferRate,
      throttle: now.convergence == nil ? nil : Double(now.throttlePercentage ?? 0),
      expectedDowntime: now.expectedDowntime, downtimeLimit: now.allowedDowntime(settings),
      remaining: now.remainingBytes, streamRate: now.relay?.streamRate)
  }
}
