// SPDX-License-Identifier: Apache-2.0

/// What a host is made of, as far as it matters where threads run and where memory lies: CPUs, the cores and packages
/// that they belong to, NUMA nodes and the distances between them.
public struct HostTopology: Sendable, Equatable {
  /// A NUMA node: CPUs and memory that are near each other. Either may be missing.
  public struct Node: Sendable, Equatable {
    public var number: Int
    /// Its CPUs that are online.
    public var cpus: CPUSet
    /// Bytes of memory, all and free, when it was looked at.
    public var memoryByteCount: UInt64
    public var freeByteCount: UInt64
    /// To each node by its number, itself included: 10 is itself, 20 is twice as far. Missing where the kernel does not say.
    public var distances: [Int: Int]

    public init(
      number: Int, cpus: CPUSet, memoryByteCount: UInt64, freeByteCount: UInt64 = 0, distances: [Int: Int] = [:]
    ) {
      self.number = number
      self.cpus = cpus
      self.memoryByteCount = memoryByteCount
      self.freeByteCount = freeByteCount
      self.distances = distances
    }
  }

  /// By ascending number; numbers may have gaps. A host without NUMA has one.
  public var nodes: [Node]
  /// CPUs that are online.
  public var onlineCPUs: CPUSet
  /// The CPUs of each core that has more than one (SMT), by CPU.
  public var siblings: [Int: CPUSet]
  /// The package (socket) of each CPU, where the kernel says it.
  public var packages: [Int: Int]

  public init(nodes: [Node], onlineCPUs: CPUSet, siblings: [Int: CPUSet] = [:], packages: [Int: Int] = [:]) {
    self.nodes = nodes
    self.onlineCPUs = onlineCPUs
    self.siblings = siblings
    self.packages = packages
  }

  public func node(_ number: Int) -> Node? { nodes.first { $0.number == number } }

  /// The node that a CPU belongs to.
  public func node(ofCPU cpu: Int) -> Int? { nodes.first { $0.cpus.contains(cpu) }?.number }

  /// The nodes with memory.
  public var memoryNodes: [Int] { nodes.filter { $0.memoryByteCount > 0 }.map { $0.number } }

  /// Packages that have a CPU which is online; 1 where the kernel does not say.
  public var packageCount: Int { max(1, Set(packages.values).count) }

  /// How far `to` is from `from`: what the kernel says, or a guess that puts every other node at 20.
  public func distance(from: Int, to: Int) -> Int {
    node(from)?.distances[to] ?? (from == to ? 10 : 20)
  }

  /// The one of `candidates` that is nearest to `node`; of several, the one with the lowest number.
  public func nearest(to node: Int, among candidates: [Int]) -> Int? {
    candidates.min { (distance(from: node, to: $0), $0) < (distance(from: node, to: $1), $1) }
  }

  /// `cpus` in the order in which to fill them: one of each core first, then the cores' second CPUs, and so on.
  public func coresFirst(_ cpus: CPUSet) -> [Int] {
    let allowed = Set(cpus.numbers)
    let ranked = cpus.numbers.map { cpu -> (rank: Int, cpu: Int) in
      let core = siblings[cpu]?.numbers.filter { allowed.contains($0) } ?? [cpu]
      return (core.firstIndex(of: cpu) ?? 0, cpu)
    }
    return ranked.sorted { $0 < $1 }.map { $0.cpu }
  }
}
