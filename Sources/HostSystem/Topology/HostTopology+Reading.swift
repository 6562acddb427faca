// SPDX-License-Identifier: Apache-2.0

extension HostTopology {
  private static let nodeFolder = "/sys/devices/system/node"
  private static let cpuFolder = "/sys/devices/system/cpu"

  /// Reads sysfs. What is missing there is left out or assumed to be simple: no NUMA means one node, 0, with all CPUs.
  ///
  /// Takes two small files a CPU and three a node: below a millisecond, or some with hundreds of CPUs.
  public init(reading files: HostFiles = HostFiles()) {
    let online = files.list("\(Self.cpuFolder)/online") ?? HostThread.allowedCPUSet
    var siblings: [Int: CPUSet] = [:]
    var packages: [Int: Int] = [:]
    for cpu in online.numbers {
      let folder = "\(Self.cpuFolder)/cpu\(cpu)/topology"
      if let core = files.list("\(folder)/thread_siblings_list")?.intersection(online), core.count > 1 {
        siblings[cpu] = core
      }
      // -1 where the firmware does not say.
      if let package = files.number("\(folder)/physical_package_id"), package >= 0 { packages[cpu] = package }
    }
    self.init(
      nodes: Self.nodes(files, online: online), onlineCPUs: online, siblings: siblings, packages: packages)
  }

  private static func nodes(_ files: HostFiles, online: CPUSet) -> [Node] {
    let numbers = files.list("\(nodeFolder)/online")?.numbers ?? []
    let nodes = numbers.map { number in
      let folder = "\(nodeFolder)/node\(number)"
      let memory = memoryBytes(files.text("\(folder)/meminfo") ?? "")
      // Distances are in the order of the nodes that are online.
      let distances = (files.text("\(folder)/distance") ?? "").split(separator: " ").compactMap { Int($0) }
      return Node(
        number: number, cpus: files.list("\(folder)/cpulist")?.intersection(online) ?? [],
        memoryByteCount: memory.total, freeByteCount: memory.free,
        distances: distances.count == numbers.count
          ? Dictionary(zip(numbers, distances), uniquingKeysWith: { first, _ in first }) : [:])
    }
    if nodes.contains(where: { !$0.cpus.isEmpty }) { return nodes }
    let memory = memoryBytes(files.text("/proc/meminfo") ?? "")
    return [
      Node(number: 0, cpus: online, memoryByteCount: memory.total, freeByteCount: memory.free, distances: [0: 10])
    ]
  }

  /// `Node 0 MemTotal:       22374612 kB`, or the same without the node.
  private static func memoryBytes(_ text: String) -> (total: UInt64, free: UInt64) {
    func bytes(_ name: Substring) -> UInt64 {
      for line in text.split(separator: "\n") {
        let words = line.split(separator: " ")
        guard let at = words.firstIndex(of: name), at + 1 < words.count else { continue }
        return min(UInt64(words[at + 1]) ?? 0, .max >> 10) << 10
      }
      return 0
    }
    return (bytes("MemTotal:"), bytes("MemFree:"))
  }

  // MARK: Networks

  /// The node that a network interface's device is attached to; nil where there is no device (loopback, veth), or the
  /// firmware does not say. Of an interface on top of others (VLAN, bond, bridge), the first of those that has one.
  public static func node(ofInterface name: String, files: HostFiles = HostFiles()) -> Int? {
    node(ofInterface: name, files: files, depth: 0)
  }

  private static func node(ofInterface name: String, files: HostFiles, depth: Int) -> Int? {
    // A name is one step of a path, and not the path of anything else.
    guard !name.isEmpty, !name.contains("/"), name != "..", depth < 4 else { return nil }
    let folder = "/sys/class/net/\(name)"
    if let node = files.number("\(folder)/device/numa_node") { return node >= 0 ? node : nil }
    for lower in files.names(folder) where lower.hasPrefix("lower_") {
      if let node = node(ofInterface: String(lower.dropFirst(6)), files: files, depth: depth + 1) { return node }
    }
    return nil
  }

  /// Network interfaces of this host that have a device, by name.
  public static func interfacesWithDevices(files: HostFiles = HostFiles()) -> [String] {
    files.names("/sys/class/net").filter { !files.names("/sys/class/net/\($0)/device").isEmpty }
  }
}
