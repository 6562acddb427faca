// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Synchronization

/// Which channel each lane feeds, as a destination knows by the lanes' own word, and what is kept of each lane.
///
/// A lane's frames are taken on its channel alone. When that channel's thread has applied the lane's last frame there, it
/// hands the lane over; the thread of the next channel waits for that.
final class LaneOwners: Sendable {
  private final class Lane: Sendable {
    /// From 1. Only the thread of this channel changes it, and what is below.
    let channel: Atomic<Int>
    /// The last iteration that the lane has ended.
    let markedIteration = Atomic<UInt32>(0)

    init(channel: Int) { self.channel = Atomic(channel) }
  }

  private let lanes: [Lane]
  /// Where threads wait for a lane.
  private let spot = ParkingSpot()

  init(_ session: ReceivingPipeline.Session) {
    lanes = (0..<session.laneCount).map { Lane(channel: session.firstChannel(ofLane: $0)) }
  }

  /// Whether the lane exists and feeds `channel` now.
  func owns(lane: Int, channel: Int) -> Bool {
    // Acquiring: pairs with the release in move(), so that all that was applied before is visible.
    lanes.indices.contains(lane) && lanes[lane].channel.load(ordering: .acquiring) == channel
  }

  /// Whether any lane feeds `channel` now.
  func feeds(channel: Int) -> Bool { lanes.contains { $0.channel.load(ordering: .relaxed) == channel } }

  /// How many channels lanes feed now.
  var channelCountInUse: Int { Set(lanes.map { $0.channel.load(ordering: .relaxed) }).count }

  /// The last iteration that a lane has ended; asked and told by its channel's thread.
  func markedIteration(ofLane lane: Int) -> UInt32 { lanes[lane].markedIteration.load(ordering: .relaxed) }
  func mark(lane: Int, iteration: UInt32) { lanes[lane].markedIteration.store(iteration, ordering: .relaxed) }

  /// The lane feeds another channel from now on: everything that came on this one has been applied.
  func move(lane: Int, to channel: Int) {
    lanes[lane].channel.store(channel, ordering: .releasing)  // Pairs with the acquire in owns().
    spot.wake()
  }

  /// Waits until the lane feeds `channel`.
  /// - Parameters:
  ///   - limit: nanoseconds for which nothing may arrive meanwhile.
  ///   - progress: a number that grows with what arrives.
  /// - Returns: false if the time has passed, or `isStopped` came true, first.
  func wait(lane: Int, channel: Int, limit: UInt64, progress: () -> UInt64, isStopped: () -> Bool) -> Bool {
    var seen = progress()
    while true {
      let isOver = spot.wait(nanoseconds: Int64(clamping: limit)) {
        self.owns(lane: lane, channel: channel) || isStopped()
      }
      if isOver { return owns(lane: lane, channel: channel) }
      let now = progress()
      // On a slow link it takes its time until what was sent earlier is here.
      guard now != seen else { return false }
      seen = now
    }
  }

  /// Wakes all who wait, because the pipeline stops.
  func wake() { spot.wake() }
}
