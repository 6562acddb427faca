// SPDX-License-Identifier: Apache-2.0
import HostSystem

extension Placement {
  /// Makes the plan.
  ///
  /// - **Lanes** go to nodes in proportion to the memory of the blocks that lie there, and take those blocks. Blocks whose
  ///   node is not known go to all lanes, and count for every node by its CPUs. A lane that finds no CPU left on its node
  ///   runs on the nearest node that has one, and still takes its blocks.
  /// - **Senders** run near the network device, or where that is not known, with the first lane of their channel.
  /// - **Receivers** go to nodes like lanes; where nothing is known of the memory, near the network device. **Decoders**
  ///   go to the node of their receiver.
  /// - With `cpu`, lanes and senders, or receivers and decoders, take the CPUs of their node one by one, a CPU of each core first, and
  ///   begin again when all are taken; populators begin at the other end.
  public init(planning request: PlacementRequest) {
    let planner = PlacementPlanner(request)
    let policy = request.policy.resolved(nodeCount: planner.nodes.count)
    guard policy != .none, !planner.nodes.isEmpty else {
      let spot = Spot(node: nil, cpus: request.allowance.cpus, memoryNode: nil)
      self.init(
        policy: .none, lanes: Array(repeating: spot, count: request.laneCount),
        senders: Array(repeating: spot, count: request.channelCount),
        receivers: Array(repeating: spot, count: request.receiverCount),
        decoders: Array(repeating: spot, count: request.receiverCount * request.decoderCount),
        populators: Array(repeating: spot, count: request.populatorCount), homes: .none, allowance: request.allowance)
      return
    }
    let homes = planner.laneHomes()
    var source = PlacementPlanner.Seating(planner, policy: policy)
    // In the order of their numbers, so that lane k has the k-th CPU of its node.
    let lanes = homes.lanes.map { source.seat(near: $0 ?? planner.nodes[0]) }
    let senders = (0..<request.channelCount).map { channel in
      source.seat(
        at: planner.networkNode ?? (lanes.indices.contains(channel) ? lanes[channel].node : nil) ?? planner.nodes[0])
    }
    var destination = PlacementPlanner.Seating(planner, policy: policy)
    let receivers = planner.receiverNodes(request.receiverCount).map { destination.seat(near: $0) }
    let decoders = receivers.flatMap { receiver in
      (0..<request.decoderCount).map { _ in destination.seat(near: receiver.node ?? planner.nodes[0]) }
    }
    let populators = planner.receiverNodes(request.populatorCount).map { destination.seatLast(at: $0) }
    self.init(
      policy: policy, lanes: lanes, senders: senders, receivers: receivers, decoders: decoders,
      populators: populators, homes: planner.nodes.count > 1 ? homes : .none, allowance: request.allowance)
  }
}

/// The arithmetic behind a ``Placement``.
struct PlacementPlanner {
  private let request: PlacementRequest
  /// Nodes with a CPU that may be used, ascending.
  let nodes: [Int]
  /// Those CPUs, by node, in the order in which to give them away.
  private let cpus: [Int: [Int]]
  /// The node to run on for what lies on the node of a block: its own, or the nearest with a CPU.
  private let blockNodes: [Int?]

  init(_ request: PlacementRequest) {
    self.request = request
    let topology = request.topology
    var cpus: [Int: [Int]] = [:]
    for node in topology.nodes {
      let allowed = node.cpus.intersection(request.allowance.cpus)
      if !allowed.isEmpty { cpus[node.number] = topology.coresFirst(allowed) }
    }
    self.cpus = cpus
    let nodes = cpus.keys.sorted()
    self.nodes = nodes
    blockNodes = request.blocks.map { $0.node.flatMap { topology.nearest(to: $0, among: nodes) } }
  }

  /// The node to run on for the network device.
  var networkNode: Int? { request.networkNode.flatMap { request.topology.nearest(to: $0, among: nodes) } }

  func cpuCount(_ node: Int) -> Int { cpus[node]?.count ?? 0 }

  /// Where lanes and blocks belong. Lanes of one channel share a node as far as possible.
  func laneHomes() -> LaneHomes {
    let counts = shares(of: request.laneCount)
    var order = nodes.flatMap { Array(repeating: $0, count: counts[$0] ?? 0) }[...]
    var lanes = [Int?](repeating: nil, count: request.laneCount)
    let channelCount = max(1, request.channelCount)
    for channel in 0..<channelCount {
      for lane in stride(from: channel, to: request.laneCount, by: channelCount) { lanes[lane] = order.popFirst() }
    }
    // A block whose node has no lane goes to all of them.
    return LaneHomes(lanes: lanes, blocks: blockNodes.map { $0.flatMap { lanes.contains($0) ? $0 : nil } })
  }

  /// The node of each of `count` threads at the destination.
  func receiverNodes(_ count: Int) -> [Int] {
    if !blockNodes.contains(where: { $0 != nil }), let networkNode {
      return Array(repeating: networkNode, count: count)
    }
    let counts = shares(of: count)
    return nodes.flatMap { Array(repeating: $0, count: counts[$0] ?? 0) }
  }

  /// Divides `count` threads among nodes, in proportion to the memory of blocks there; every node that has a block gets one,
  /// if there are enough (largest remainder, lower numbers first).
  func shares(of count: Int) -> [Int: Int] {
    let weights = weights()
    let total = weights.values.reduce(0, +)
    let needed = nodes.filter { blockNodes.contains($0) }
    let reserved = count >= needed.count ? 1 : 0
    var shares = Dictionary(uniqueKeysWithValues: nodes.map { ($0, needed.contains($0) ? reserved : 0) })
    var left = count - shares.values.reduce(0, +)
    while left > 0 {
      // The node that is furthest below what its memory is worth.
      let next = nodes.max { lower, higher in
        let behind = { (node: Int) in
          (weights[node] ?? 0) / max(total, .leastNonzeroMagnitude) * Double(count) - Double(shares[node] ?? 0)
        }
        return (behind(lower), -lower) < (behind(higher), -higher)
      }
      shares[next ?? nodes[0], default: 0] += 1
      left -= 1
    }
    return shares
  }

  /// What each node's blocks are worth, in bytes; of those whose node is not known, each node's CPUs get their share.
  private func weights() -> [Int: Double] {
    var weights: [Int: Double] = [:]
    let known = zip(request.blocks, blockNodes)
    for (block, node) in known { if let node { weights[node, default: 0] += Double(block.byteCount) } }
    let rest = request.blocks.isEmpty ? 1 : known.reduce(0) { $1.1 == nil ? $0 + Double($1.0.byteCount) : $0 }
    let cpuCount = nodes.reduce(0) { $0 + self.cpuCount($1) }
    for node in nodes { weights[node, default: 0] += rest * Double(self.cpuCount(node)) / Double(max(1, cpuCount)) }
    return weights
  }

  /// Gives away the CPUs of nodes, to threads that run at the same time.
  struct Seating {
    private let planner: PlacementPlanner
    private let policy: PlacementPolicy
    private let memoryNodes: [Int]
    private var taken: [Int: Int] = [:]
    private var takenLast: [Int: Int] = [:]

    init(_ planner: PlacementPlanner, policy: PlacementPolicy) {
      self.planner = planner
      self.policy = policy
      memoryNodes = planner.request.topology.memoryNodes
    }

    /// A place on `node`, or while all CPUs there have been given away, on the nearest node that has one left.
    mutating func seat(near node: Int) -> Placement.Spot {
      let free = planner.nodes.filter { taken[$0, default: 0] < planner.cpuCount($0) }
      return seat(at: planner.request.topology.nearest(to: node, among: free) ?? node)
    }

    /// A place on `node`.
    mutating func seat(at node: Int) -> Placement.Spot {
      let order = planner.cpus[node] ?? []
      let next = taken[node, default: 0]
      taken[node] = next + 1
      return spot(node, order, order[next % max(1, order.count)])
    }

    /// A place on `node`, from the other end of its CPUs.
    mutating func seatLast(at node: Int) -> Placement.Spot {
      let order = planner.cpus[node] ?? []
      let next = takenLast[node, default: 0]
      takenLast[node] = next + 1
      return spot(node, order, order[order.count - 1 - next % max(1, order.count)])
    }

    private func spot(_ node: Int, _ all: [Int], _ one: Int) -> Placement.Spot {
      // With memory in one place there is nothing to choose.
      let memoryNode =
        memoryNodes.count > 1 ? planner.request.topology.nearest(to: node, among: memoryNodes) : nil
      return Placement.Spot(node: node, cpus: policy == .cpu ? [one] : CPUSet(all), memoryNode: memoryNode)
    }
  }
}
