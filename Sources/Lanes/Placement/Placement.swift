// SPDX-License-Identifier: Apache-2.0
public import HostSystem

/// Where each thread of a data plane runs and where its memory comes from: a plan, made before anything starts.
///
/// A source has lanes and senders, a destination receivers, decoders and threads that populate memory. The plan is a function of
/// its ``PlacementRequest`` alone, so that every layout can be tested on any host.
public struct Placement: Sendable {
  /// A thread's place.
  public struct Spot: Sendable, Equatable {
    /// The node that it runs on; nil where none was chosen.
    public var node: Int?
    /// The CPUs that it may run on.
    public var cpus: CPUSet
    /// The node that its buffers prefer; nil where there is no choice.
    public var memoryNode: Int?
  }

  /// What was asked for, `auto` resolved.
  public let policy: PlacementPolicy
  public let lanes: [Spot]
  /// One for each data channel, channel 1 first.
  public private(set) var senders: [Spot]
  public let receivers: [Spot]
  /// Those of channel 1 first.
  public let decoders: [Spot]
  public let populators: [Spot]
  /// Which lanes take which blocks.
  public let homes: LaneHomes
  /// Nice value of every thread; nil: that of the process.
  public var niceness: Int?
  /// Whether every thread is scheduled as SCHED_BATCH.
  public var isBatch = false
  /// Told what could not be applied.
  public var warn: (@Sendable (String) -> Void)?
  /// The CPUs that it was made for; threads without a spot may run on all of them.
  public let allowance: CPUAllowance

  init(
    policy: PlacementPolicy, lanes: [Spot], senders: [Spot], receivers: [Spot], decoders: [Spot], populators: [Spot],
    homes: LaneHomes, allowance: CPUAllowance
  ) {
    self.policy = policy
    self.lanes = lanes
    self.senders = senders
    self.receivers = receivers
    self.decoders = decoders
    self.populators = populators
    self.homes = homes
    self.allowance = allowance
  }

  /// Nothing is bound, and the kernel is asked for nothing.
  public static let none = Placement(
    policy: .none, lanes: [], senders: [], receivers: [], decoders: [], populators: [], homes: .none,
    allowance: CPUAllowance(affinity: [], cpus: []))

  /// A lane's thread, lanes counted from 0.
  public func lane(_ number: Int) -> ThreadPlacement { thread(lanes, number) }
  /// A data channel's sending thread, channels counted from 0.
  public func sender(_ channel: Int) -> ThreadPlacement { thread(senders, channel) }
  /// A data channel's receiving thread, channels counted from 0.
  public func receiver(_ channel: Int) -> ThreadPlacement { thread(receivers, channel) }
  /// A thread that decodes, counted from 0, those of channel 1 first.
  public func decoder(_ number: Int) -> ThreadPlacement { thread(decoders, number) }
  /// A thread that faults memory in, counted from 0.
  public func populator(_ number: Int) -> ThreadPlacement { thread(populators, number) }
  /// Any other thread that works for the data plane.
  public var helper: ThreadPlacement { thread([], 0) }

  /// The same, where lanes put their frames on the channel themselves.
  var withoutSenders: Placement {
    var plan = self
    plan.senders = []
    return plan
  }

  private func thread(_ spots: [Spot], _ number: Int) -> ThreadPlacement {
    let spot = spots.indices.contains(number) ? spots[number] : nil
    let wanted = spot?.cpus ?? allowance.cpus
    // Nothing to ask for where a thread is kept to what it may use anyway: one node, or one CPU, costs nothing.
    return ThreadPlacement(
      cpus: wanted == allowance.affinity ? nil : wanted, memoryNode: spot?.memoryNode, niceness: niceness,
      isBatch: isBatch,
      warn: warn)
  }
}

/// Which lanes take which RAM blocks: those that have the same home, and without one, all.
public struct LaneHomes: Sendable, Equatable {
  /// The node whose blocks a lane takes; lanes that are not listed have none.
  public var lanes: [Int?]
  /// The node that a block's lanes have as their home; blocks that are not listed go to all lanes.
  public var blocks: [Int?]

  public init(lanes: [Int?], blocks: [Int?]) {
    self.lanes = lanes
    self.blocks = blocks
  }

  /// Every lane takes its share of every block.
  public static let none = LaneHomes(lanes: [], blocks: [])
}
