// SPDX-License-Identifier: Apache-2.0
import CNUMA
import HostSystem
import TestSupport
import Testing

@Suite struct TopologyTests {
  private func read(_ name: String) throws -> (topology: HostTopology, files: HostFiles, host: RecordedHost) {
    let host = try RecordedHost(name)
    let files = HostFiles(root: host.root)
    return (HostTopology(reading: files), files, host)
  }

  @Test(
    "Nodes with their CPUs and memory in GiB",
    arguments: [
      ("one-cpu", ["0: 0, 2"]), ("one-node", ["0: 0-1, 21"]), ("no-numa", ["0: 0-3, 8"]),
      ("two-nodes-smt", ["0: 0-3,8-11, 64", "1: 4-7,12-15, 64"]),
      ("two-nodes-adjacent-smt", ["0: 0-3, 16", "1: 4-7, 16"]),
      ("four-nodes", ["0: 0-3, 32", "1: 4-7, 32", "2: 8-11, 32", "3: 12-15, 32"]),
      ("sub-numa", ["0: 0-3,16-19, 48", "1: 4-7,20-23, 48", "2: 8-11,24-27, 48", "3: 12-15,28-31, 48"]),
      ("sparse-nodes", ["0: 0-7, 128", "8: 8-15, 128", "252: , 16"]),
      ("node-without-memory", ["0: 0-3, 32", "1: 4-7, 0", "2: 8-11, 32"]),
      ("offline-cpus", ["0: 0-1,4-5, 16", "1: 2, 16"]),
    ])
  func nodes(name: String, expected: [String]) throws {
    let topology = try read(name).topology
    #expect(topology.nodes.map { "\($0.number): \($0.cpus), \($0.memoryByteCount >> 30)" } == expected)
    #expect(CPUSet(topology.nodes.flatMap { $0.cpus.numbers }) == topology.onlineCPUs)
  }

  @Test("Every recording is read: distances of every node to every node, each CPU on one node")
  func everyRecording() throws {
    #expect(RecordedHost.names.count >= 10)
    for name in RecordedHost.names {
      let topology = try read(name).topology
      for node in topology.nodes {
        #expect(Set(node.distances.keys) == Set(topology.nodes.map { $0.number }), "\(name)")
        #expect(topology.distance(from: node.number, to: node.number) == 10, "\(name)")
        for cpu in node.cpus.numbers { #expect(topology.node(ofCPU: cpu) == node.number, "\(name)") }
      }
    }
  }

  @Test(
    "Cores come before their second threads, among the CPUs that are allowed",
    arguments: [
      ("one-node", "0-1", [0, 1]), ("no-numa", "0-3", [0, 1, 2, 3]), ("two-nodes-adjacent-smt", "0-3", [0, 2, 1, 3]),
      ("two-nodes-smt", "0-3,8-11", [0, 1, 2, 3, 8, 9, 10, 11]), ("two-nodes-smt", "8-9,1", [1, 8, 9]),
      ("sparse-nodes", "0-7", [0, 4, 1, 5, 2, 6, 3, 7]), ("offline-cpus", "0-2,4-5", [0, 1, 2, 4, 5]),
    ])
  func order(name: String, allowed: String, expected: [Int]) throws {
    #expect(try read(name).topology.coresFirst(CPUSet(parsing: allowed)) == expected)
  }

  @Test("The nearest node is the one that the distances say, the lower number of equals")
  func nearest() throws {
    let ring = try read("four-nodes").topology
    #expect(ring.nearest(to: 0, among: [1, 2, 3]) == 1)
    #expect(ring.nearest(to: 1, among: [0, 3]) == 0)
    #expect(ring.nearest(to: 2, among: []) == nil)
    #expect(try read("sub-numa").topology.nearest(to: 3, among: [0, 1, 2]) == 2)
    #expect(try read("node-without-memory").topology.nearest(to: 1, among: [0, 2]) == 2)
  }

  @Test(
    "The node of a network interface, through a VLAN and a bond, and nil where there is none",
    arguments: [
      ("two-nodes-smt", "eth0", 1), ("two-nodes-smt", "eth1", 0), ("two-nodes-smt", "bond0", 1),
      ("two-nodes-smt", "vlan7", 1), ("two-nodes-smt", "veth3", nil), ("two-nodes-smt", "usb0", nil),
      ("two-nodes-smt", "lo", nil), ("two-nodes-smt", "none", nil), ("two-nodes-smt", "../net/eth0", nil),
      ("two-nodes-smt", "", nil), ("one-node", "eth0", nil), ("sparse-nodes", "eth0", 8),
    ])
  func network(name: String, interface: String, expected: Int?) throws {
    let (_, files, host) = try read(name)
    withExtendedLifetime(host) { #expect(HostTopology.node(ofInterface: interface, files: files) == expected) }
  }

  @Test("Interfaces that lie on each other in a circle are not followed for ever")
  func circle() throws {
    let host = try RecordedHost(files: [
      "/sys/class/net/a/lower_b/mtu": "1", "/sys/class/net/b/lower_a/mtu": "1",
    ])
    #expect(HostTopology.node(ofInterface: "a", files: HostFiles(root: host.root)) == nil)
  }

  @Test("Packages, and the cores' threads that are online")
  func packages() throws {
    #expect(try read("sub-numa").topology.packageCount == 2)
    #expect(try read("one-node").topology.packageCount == 1)
    #expect(try read("offline-cpus").topology.siblings == [0: [0, 4], 4: [0, 4], 1: [1, 5], 5: [1, 5]])
  }

  @Test("A tree of nonsense is a host of one node, not a crash")
  func nonsense() throws {
    let host = try RecordedHost(files: [
      "/sys/devices/system/cpu/online": "0-3", "/sys/devices/system/node/online": "0,1",
      "/sys/devices/system/node/node0/cpulist": "zero", "/sys/devices/system/node/node0/meminfo": "Node 0 MemTotal:",
      "/sys/devices/system/node/node0/distance": "10 x",
      "/sys/devices/system/node/node1/meminfo":
        "Node 1 MemTotal: 99999999999999999999999 kB",
      "/sys/devices/system/cpu/cpu0/topology/thread_siblings_list": "9-1",
      "/sys/devices/system/cpu/cpu0/topology/physical_package_id": "-1",
    ])
    let topology = HostTopology(reading: HostFiles(root: host.root))
    #expect(topology.nodes.map { $0.number } == [0])
    #expect(topology.nodes[0].cpus == [0, 1, 2, 3])
    #expect(topology.packageCount == 1)
  }

  @Test("This host is read as libnuma reads it")
  func agreesWithLibnuma() {
    guard numa_available() >= 0 else { return print("SKIPPED: libnuma says that there is no NUMA here") }
    let topology = HostTopology(reading: HostFiles())
    for cpu in topology.onlineCPUs.numbers {
      #expect(topology.node(ofCPU: cpu) == Int(numa_node_of_cpu(CInt(cpu))), "CPU \(cpu)")
    }
    for node in topology.nodes {
      let byteCount = numa_node_size64(CInt(node.number), nil)
      #expect(Int64(node.memoryByteCount) == max(0, byteCount), "node \(node.number)")
      for other in topology.nodes {
        #expect(
          topology.distance(from: node.number, to: other.number)
            == Int(numa_distance(CInt(node.number), CInt(other.number))))
      }
    }
  }
}
