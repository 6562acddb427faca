// SPDX-License-Identifier: Apache-2.0

/// The channel that a lane feeds, and where it is to go. Belongs to the lane's thread.
final class LaneRoute {
  private let lane: Int
  private let ring: FrameRing
  private let channels: ChannelRoster
  /// Of the channel that the lane feeds.
  private(set) var sender: ChannelSender
  /// The number of channels by which it was found.
  private var countSeen: Int

  init(lane: Int, ring: FrameRing, channels: ChannelRoster) {
    self.lane = lane
    self.ring = ring
    self.channels = channels
    // Not where it should be by now: where its ring was put.
    (sender, countSeen) = channels.firstSender(ofLane: lane)
  }

  /// Where the lane is to go, if that is not where it is. One load while nobody changes anything.
  var target: ChannelSender? {
    guard channels.countInUse != countSeen else { return nil }
    let (target, count) = channels.sender(ofLane: lane)
    countSeen = count
    return target === sender ? nil : target
  }

  /// The lane feeds another channel. Its ring is empty: nobody looks at it who does not find it in a channel's set.
  func move(to target: ChannelSender) {
    sender.lanes.remove(lane)
    ring.frameSpot = target.frameSpot
    target.lanes.insert(lane)
    sender = target
  }
}
