// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Synchronization
import Transport

/// The data channels of a sending pipeline: those that are open, and how many of them lanes feed.
///
/// Lane *l* feeds the channel at place *l* modulo the number in use, or is about to. Channels are added and never taken
/// away: one that is not in use stays connected, for a time when more are wanted.
final class ChannelRoster: Sendable {
  private struct State {
    var senders: [ChannelSender]
    var busy = LinkBusy()
  }

  private let state: Mutex<State>
  private let used: Atomic<Int>
  private let countAtFirst: Int

  /// - Parameter senders: at least one; all are in use.
  init(_ senders: [ChannelSender], rings: [FrameRing]) {
    state = Mutex(State(senders: senders))
    used = Atomic(senders.count)
    countAtFirst = senders.count
    for lane in rings.indices {
      let sender = senders[lane % senders.count]
      rings[lane].frameSpot = sender.frameSpot
      sender.lanes.insert(lane)
    }
  }

  /// All that are open, the first channel first.
  var senders: [ChannelSender] { state.withLock { $0.senders } }

  /// How many are open.
  var count: Int { state.withLock { $0.senders.count } }

  /// How many lanes feed, or are about to.
  var countInUse: Int { used.load(ordering: .relaxed) }

  /// The sender of the channel that a lane is to feed, and the number of channels by which that is so.
  func sender(ofLane lane: Int) -> (sender: ChannelSender, countInUse: Int) {
    state.withLock { state in
      let count = countInUse
      return (state.senders[lane % count], count)
    }
  }

  /// The same, before anything was changed.
  func firstSender(ofLane lane: Int) -> (sender: ChannelSender, countInUse: Int) {
    state.withLock { ($0.senders[lane % countAtFirst], countAtFirst) }
  }

  /// Changes how many are in use, to as many as are open at most.
  func use(_ count: Int) {
    state.withLock { state in
      let wanted = min(max(1, count), state.senders.count)
      guard wanted != countInUse else { return }
      state.busy.rebase(state.senders, inUse: countInUse)
      used.store(wanted, ordering: .relaxed)
    }
  }

  /// Adds a channel, which is not in use yet.
  func add(_ make: (_ number: Int) -> ChannelSender) -> ChannelSender {
    state.withLock { state in
      let sender = make(state.senders.count + 1)
      state.senders.append(sender)
      return sender
    }
  }

  /// Bytes that the sockets of all channels have taken.
  var sentByteCount: UInt64 { state.withLock { $0.senders.reduce(0) { $0 + $1.connection.sentByteCount } } }

  /// Nanoseconds that the busiest channel in use has had data on the way, or was held back by the bandwidth limit, summed
  /// over the times between changes of their number; nil if the kernel does not say.
  var linkBusyNanoseconds: UInt64? { state.withLock { $0.busy.total($0.senders, inUse: countInUse) } }

  func wakeAll() { for sender in senders { sender.frameSpot.wake() } }
}

/// How long the busiest of some channels was busy, where their number changes: a channel that carries nothing any more must
/// not hide for a while, by what it did before, what the others do.
private struct LinkBusy {
  private var before: UInt64 = 0
  /// What each channel had when their number was last changed.
  private var since: [UInt64] = []

  private static func busy(_ sender: ChannelSender) -> UInt64? {
    sender.connection.busyTime.map { $0.total + sender.pacedNanoseconds.load(ordering: .relaxed) }
  }

  func total(_ senders: [ChannelSender], inUse count: Int) -> UInt64? {
    var most: UInt64 = 0
    for (index, sender) in senders.prefix(count).enumerated() {
      guard let busy = Self.busy(sender) else { return nil }
      let start = since.indices.contains(index) ? since[index] : 0
      most = max(most, busy - min(busy, start))
    }
    return before + most
  }

  mutating func rebase(_ senders: [ChannelSender], inUse count: Int) {
    guard let total = total(senders, inUse: count) else { return }
    before = total
    since = senders.map { Self.busy($0) ?? 0 }
  }
}
