// SPDX-License-Identifier: Apache-2.0

/// Who puts the frames of lanes on their channels.
public enum FrameSending: Sendable, Equatable {
  /// Each lane its own, and waits for the socket: while they are still in the core's cache. Where there is no CPU for
  /// another thread this takes a third off the source's CPU time.
  case lanes
  /// A thread per channel: where there is a CPU for it, reading and sending at the same time moves more.
  case senders
  /// Lanes what the socket takes at once, and a thread per channel the rest. Rings are deep: of memory that does not change,
  /// a codec makes some much smaller than the rest. While that travels, lanes work ahead, and while they work on what hardly
  /// shrinks, the link has what to send. Of a guest that runs, what waits there grows old.
  case both

  /// - Parameters:
  ///   - cpuCount: CPUs that the source may use.
  ///   - encodes: whether there is a codec.
  ///   - runs: whether the guest runs.
  public init(laneCount: Int, channelCount: Int, cpuCount: Int, encodes: Bool, runs: Bool) {
    if encodes, !runs {
      // With very many lanes there is no room for deep rings.
      self = Self.room(laneCount: laneCount) > Self.shallowSlotCount ? .both : .senders
    } else {
      self =
        Self.lanesSuffice(laneCount: laneCount, channelCount: channelCount, cpuCount: cpuCount) ? .lanes : .senders
    }
  }

  /// Whether lanes need no help with frames that cost them nothing: each has a channel to itself, and no CPU is free for
  /// another thread.
  static func lanesSuffice(laneCount: Int, channelCount: Int, cpuCount: Int) -> Bool {
    laneCount == channelCount && cpuCount < 2 * laneCount
  }

  /// Whether each channel has a thread.
  public var hasSenders: Bool { self != .lanes }

  /// Slots of each ring.
  func slotCount(laneCount: Int) -> Int {
    min(self == .both ? Self.deepSlotCount : Self.shallowSlotCount, Self.room(laneCount: laneCount))
  }

  /// Memory for the slots of all rings together, whatever the number of lanes.
  private static let ringByteCountMax = 48 << 20
  /// Enough to work while a write is under way; 16 moved no more than 4.
  private static let shallowSlotCount = 4
  private static let deepSlotCount = 64

  private static func room(laneCount: Int) -> Int {
    max(2, ringByteCountMax / max(1, laneCount) / FrameRing.slotByteCount)
  }
}
