// SPDX-License-Identifier: Apache-2.0
public import HostSystem
public import PageModel

/// Everything that a ``Placement`` is made from.
public struct PlacementRequest: Sendable {
  public var policy: PlacementPolicy
  public var topology: HostTopology
  public var allowance: CPUAllowance
  /// Of a source: lanes and data channels.
  public var laneCount: Int
  public var channelCount: Int
  /// Of a destination: data channels, threads that decode for each, and threads that fault its memory in.
  public var receiverCount: Int
  public var decoderCount: Int
  public var populatorCount: Int
  /// The guest's RAM blocks, in their order.
  public var blocks: [Block]
  /// The node that the network device of the data channels is attached to.
  public var networkNode: Int?

  /// A RAM block: how large, and on which node; nil where that is not known, or on several.
  public struct Block: Sendable, Equatable {
    public var byteCount: UInt64
    public var node: Int?

    public init(byteCount: UInt64, node: Int?) {
      self.byteCount = byteCount
      self.node = node
    }
  }

  public init(
    policy: PlacementPolicy, topology: HostTopology, allowance: CPUAllowance, laneCount: Int = 0,
    channelCount: Int = 0, receiverCount: Int = 0, decoderCount: Int = 0, populatorCount: Int = 0, blocks: [Block] = [],
    networkNode: Int? = nil
  ) {
    self.policy = policy
    self.topology = topology
    self.allowance = allowance
    self.laneCount = laneCount
    self.channelCount = channelCount
    self.receiverCount = receiverCount
    self.decoderCount = decoderCount
    self.populatorCount = populatorCount
    self.blocks = blocks
    self.networkNode = networkNode
  }

  /// Notes the guest's blocks, and where there is a choice of nodes, asks `node` for the node of each.
  public mutating func noteBlocks(_ table: BlockTable, node: (Int) -> Int?) {
    let asks = policy != .none && topology.memoryNodes.count > 1
    blocks = table.blocks.indices.map { Block(byteCount: table.blocks[$0].byteCount, node: asks ? node($0) : nil) }
  }
}
