// SPDX-License-Identifier: Apache-2.0
import HostSystem
import TestSupport
import Testing

@testable import Lanes

/// The recorded hosts, read once.
private let topologies: [String: HostTopology] = {
  var found: [String: HostTopology] = [:]
  for name in RecordedHost.names {
    guard let host = try? RecordedHost(name) else { continue }
    found[name] = HostTopology(reading: HostFiles(root: host.root))
  }
  return found
}()

/// A plan for a recorded host.
func plan(
  _ host: String, _ policy: PlacementPolicy, allowed: String? = nil, lanes: Int = 0, channels: Int = 0,
  receivers: Int = 0, decoders: Int = 0, populators: Int = 0, blocks: [PlacementRequest.Block] = [], network: Int? = nil
) throws -> Placement {
  let topology = try #require(topologies[host])
  let cpus = try allowed.map { try CPUSet(parsing: $0) } ?? topology.onlineCPUs
  return Placement(
    planning: PlacementRequest(
      policy: policy, topology: topology, allowance: CPUAllowance(affinity: topology.onlineCPUs, cpus: cpus),
      laneCount: lanes, channelCount: channels, receiverCount: receivers, decoderCount: decoders,
      populatorCount: populators, blocks: blocks, networkNode: network))
}

/// A block of so many GiB.
func block(_ gibibytes: UInt64, on node: Int?) -> PlacementRequest.Block {
  .init(byteCount: gibibytes << 30, node: node)
}

@Suite struct PlacementTests {
  struct Example: Sendable, CustomTestStringConvertible {
    var name: String
    var make: @Sendable () throws -> Placement
    var lines: @Sendable () -> [String]
    var testDescription: String { name }
  }

  static let examples: [Example] = [
    Example(name: "one node, auto: nothing is bound") {
      try plan("one-node", .automatic, lanes: 2, channels: 2)
    } lines: {
      ["lanes 0-1: CPUs 0-1", "senders 1-2: CPUs 0-1"]
    },
    Example(name: "one node, a CPU each: lanes first, senders begin again") {
      try plan("one-node", .cpu, lanes: 2, channels: 2, receivers: 3, populators: 1)
    } lines: {
      [
        "lane 0: node 0, CPU 0", "lane 1: node 0, CPU 1", "sender 1: node 0, CPU 0", "sender 2: node 0, CPU 1",
        "receivers 1,3: node 0, CPU 0", "receiver 2: node 0, CPU 1", "populator 1: node 0, CPU 1",
      ]
    },
    Example(name: "two nodes, auto, a block on each: half of the lanes each, by channel") {
      try plan("two-nodes-smt", .automatic, lanes: 4, channels: 2, blocks: [block(4, on: 0), block(4, on: 1)])
    } lines: {
      [
        "lanes 0,2: node 0, CPUs 0-3,8-11, memory of node 0", "lanes 1,3: node 1, CPUs 4-7,12-15, memory of node 1",
        "sender 1: node 0, CPUs 0-3,8-11, memory of node 0", "sender 2: node 1, CPUs 4-7,12-15, memory of node 1",
      ]
    },
    Example(name: "two nodes, a CPU each: cores before their second threads, senders near the network device") {
      try plan("two-nodes-smt", .cpu, lanes: 5, channels: 1, blocks: [block(4, on: 0)], network: 1)
    } lines: {
      [
        "lane 0: node 0, CPU 0, memory of node 0", "lane 1: node 0, CPU 1, memory of node 0",
        "lane 2: node 0, CPU 2, memory of node 0", "lane 3: node 0, CPU 3, memory of node 0",
        "lane 4: node 0, CPU 8, memory of node 0", "sender 1: node 1, CPU 4, memory of node 1",
      ]
    },
    Example(name: "a guest on one node, and more lanes than that has CPUs: the others help from the nearest node") {
      try plan("two-nodes-smt", .node, allowed: "0-1,4-7", lanes: 4, channels: 4, blocks: [block(4, on: 0)])
    } lines: {
      [
        "lanes 0-1: node 0, CPUs 0-1, memory of node 0", "lanes 2-3: node 1, CPUs 4-7, memory of node 1",
        "senders 1-2: node 0, CPUs 0-1, memory of node 0", "senders 3-4: node 1, CPUs 4-7, memory of node 1",
      ]
    },
    Example(name: "four nodes, blocks of 1, 1 and 2: lanes in proportion") {
      try plan(
        "four-nodes", .node, lanes: 4, channels: 4, blocks: [block(1, on: 0), block(1, on: 2), block(2, on: 3)],
        network: 2)
    } lines: {
      [
        "lane 0: node 0, CPUs 0-3, memory of node 0", "lane 1: node 2, CPUs 8-11, memory of node 2",
        "lanes 2-3: node 3, CPUs 12-15, memory of node 3", "senders 1-4: node 2, CPUs 8-11, memory of node 2",
      ]
    },
    Example(name: "four nodes, nothing known: spread by CPUs") {
      try plan("four-nodes", .node, allowed: "0-3,4-5,8,12", lanes: 8, channels: 1, blocks: [block(8, on: nil)])
    } lines: {
      [
        "lanes 0-3: node 0, CPUs 0-3, memory of node 0", "lanes 4-5: node 1, CPUs 4-5, memory of node 1",
        "lane 6: node 2, CPU 8, memory of node 2", "lane 7: node 3, CPU 12, memory of node 3",
        "sender 1: node 0, CPUs 0-3, memory of node 0",
      ]
    },
    Example(name: "sub-NUMA: a destination's receivers near the network device, the populator from the other end") {
      try plan("sub-numa", .cpu, receivers: 3, populators: 1, blocks: [block(8, on: nil)], network: 3)
    } lines: {
      [
        "receiver 1: node 3, CPU 12, memory of node 3", "receiver 2: node 3, CPU 13, memory of node 3",
        "receiver 3: node 3, CPU 14, memory of node 3", "populator 1: node 3, CPU 31, memory of node 3",
      ]
    },
    Example(name: "a destination whose memory is known: receivers where it is, whatever the network's node") {
      try plan("sub-numa", .node, receivers: 2, blocks: [block(8, on: 1)], network: 3)
    } lines: {
      ["receivers 1-2: node 1, CPUs 4-7,20-23, memory of node 1"]
    },
    Example(name: "decoders on the node of their receiver, with CPUs of their own while there are any") {
      try plan("two-nodes-smt", .cpu, receivers: 2, decoders: 1, blocks: [block(4, on: 0), block(4, on: 1)])
    } lines: {
      [
        "receiver 1: node 0, CPU 0, memory of node 0", "receiver 2: node 1, CPU 4, memory of node 1",
        "decoder 1: node 0, CPU 1, memory of node 0", "decoder 2: node 1, CPU 5, memory of node 1",
      ]
    },
    Example(name: "memory on a node without CPUs: lanes on the nearest, sparse numbers") {
      try plan("sparse-nodes", .cpu, allowed: "8-15", lanes: 2, channels: 1, blocks: [block(4, on: 252)], network: 8)
    } lines: {
      [
        "lane 0: node 8, CPU 8, memory of node 8", "lane 1: node 8, CPU 12, memory of node 8",
        "sender 1: node 8, CPU 9, memory of node 8",
      ]
    },
    Example(name: "CPUs on a node without memory: buffers on the nearest that has some") {
      try plan("node-without-memory", .node, allowed: "4-7", lanes: 2, channels: 1, blocks: [block(4, on: 0)])
    } lines: {
      [
        "lanes 0-1: node 1, CPUs 4-7, memory of node 2", "sender 1: node 1, CPUs 4-7, memory of node 2",
      ]
    },
    Example(name: "no NUMA, SMT: a core each before a thread each") {
      try plan("no-numa", .cpu, lanes: 3, channels: 1)
    } lines: {
      [
        "lane 0: node 0, CPU 0", "lane 1: node 0, CPU 1", "lane 2: node 0, CPU 2", "sender 1: node 0, CPU 3",
      ]
    },
    Example(name: "offline CPUs are not used") {
      try plan("offline-cpus", .cpu, lanes: 5, channels: 1, blocks: [block(4, on: 1)])
    } lines: {
      [
        "lane 0: node 1, CPU 2, memory of node 1", "lane 1: node 0, CPU 0, memory of node 0",
        "lane 2: node 0, CPU 1, memory of node 0", "lane 3: node 0, CPU 4, memory of node 0",
        "lane 4: node 0, CPU 5, memory of node 0", "sender 1: node 1, CPU 2, memory of node 1",
      ]
    },
    Example(name: "one lane, blocks on two nodes: the larger one's, and it takes all") {
      try plan("two-nodes-smt", .node, lanes: 1, channels: 1, blocks: [block(1, on: 0), block(3, on: 1)])
    } lines: {
      [
        "lane 0: node 1, CPUs 4-7,12-15, memory of node 1", "sender 1: node 1, CPUs 4-7,12-15, memory of node 1",
      ]
    },
  ]

  @Test("Every thread lands where it should", arguments: examples)
  func lands(example: Example) throws {
    #expect(try example.make().lines == example.lines())
  }

  @Test("`none` binds nothing on any host, and neither does `auto` where one node has allowed CPUs")
  func bindsNothing() throws {
    for host in RecordedHost.names {
      let free = try plan(host, .none, lanes: 3, channels: 2, receivers: 2, populators: 1, blocks: [block(1, on: 0)])
      for thread in [
        free.lane(0), free.lane(2), free.sender(1), free.receiver(0), free.decoder(0), free.populator(0), free.helper,
      ] {
        #expect(thread.cpus == nil && thread.memoryNode == nil && thread.niceness == nil && !thread.isBatch, "\(host)")
      }
      #expect(free.homes == .none)
    }
    for host in ["one-node", "one-cpu", "no-numa"] {
      let alone = try plan(host, .automatic, lanes: 2, channels: 2, blocks: [block(1, on: 0)])
      #expect(alone.policy == .none && alone.lane(0).cpus == nil && alone.lane(0).memoryNode == nil, "\(host)")
    }
    #expect(try plan("two-nodes-smt", .automatic, allowed: "0-3", lanes: 2, channels: 1).policy == .none)
    #expect(try plan("two-nodes-smt", .automatic, lanes: 2, channels: 1).policy == .node)
  }

  @Test("On one CPU even `cpu` asks nothing of the kernel")
  func oneCPU() throws {
    let placement = try plan("one-cpu", .cpu, lanes: 2, channels: 1)
    #expect(placement.lane(1).cpus == nil && placement.lane(1).memoryNode == nil)
  }

  @Test("Workers are kept to the CPUs of --cpus, whatever the policy", arguments: PlacementPolicy.allCases)
  func restricted(policy: PlacementPolicy) throws {
    let placement = try plan("two-nodes-smt", policy, allowed: "2,5", lanes: 3, channels: 2, receivers: 2, decoders: 1)
    let threads =
      (0..<3).map { placement.lane($0) } + [
        placement.sender(0), placement.receiver(1), placement.decoder(1), placement.helper,
      ]
    for thread in threads {
      let cpus = try #require(thread.cpus)
      #expect(!cpus.isEmpty && cpus.subtracting([2, 5]).isEmpty)
    }
  }

  @Test("The same request has the same plan, and it covers every thread", arguments: RecordedHost.names)
  func complete(host: String) throws {
    for policy in PlacementPolicy.allCases {
      for (lanes, channels) in [(1, 1), (2, 2), (7, 3), (64, 4)] {
        let make = {
          try plan(
            host, policy, lanes: lanes, channels: channels, receivers: channels, decoders: 2, populators: 2,
            blocks: [block(3, on: 0), block(1, on: nil), block(2, on: 1)], network: 1)
        }
        let placement = try make()
        #expect(try make().lines == placement.lines)
        #expect(placement.lanes.count == lanes && placement.senders.count == channels)
        #expect(placement.receivers.count == channels && placement.populators.count == 2)
        #expect(placement.decoders.count == 2 * channels)
        for spot in placement.lanes + placement.senders + placement.receivers + placement.decoders
          + placement.populators
        {
          #expect(!spot.cpus.isEmpty)
          if placement.policy == .cpu { #expect(spot.cpus.count == 1) }
        }
      }
    }
  }

  @Test("No CPU has two lanes while another has none")
  func spreadsEvenly() throws {
    for host in RecordedHost.names {
      for lanes in 1...20 {
        let placement = try plan(host, .cpu, lanes: lanes, channels: 1, blocks: [block(4, on: 0)])
        let loads = Dictionary(placement.lanes.map { ($0.cpus, 1) }, uniquingKeysWith: +)
        let all = try plan(host, .none, lanes: 1).allowance.cpus.count
        #expect(loads.count == min(lanes, all), "\(host), \(lanes) lanes")
      }
    }
  }
}
