// SPDX-License-Identifier: Apache-2.0
import HostSystem
import PageFerry

/// Where threads can run and memory can lie here, and where they would.
struct PlacementChecks {
  private let options: PlacementOptions
  private let topology = HostTopology(reading: HostFiles())
  private let files = HostFiles()
  private let allowance: CPUAllowance

  init(_ arguments: CPUArguments) {
    options = arguments.options
    allowance = options.allowance
  }

  func run() -> [Finding] {
    cpus + limits + nodes + networks + plan
  }

  private var cpus: [Finding] {
    let online = topology.onlineCPUs
    let machine = "\(online.count) online in \(Self.count(topology.packageCount, "package"))"
    let smt = topology.siblings.isEmpty ? "" : ", several to a core"
    var findings = [
      allowance.affinity == online
        ? Finding("placement", "CPUs", .good, "\(allowance.affinity) may be used: all that are online\(smt)")
        : Finding("placement", "CPUs", .note, "\(allowance.affinity) may be used, of \(machine)\(smt)")
    ]
    if allowance.cpus != allowance.affinity {
      findings.append(Finding("placement", "--cpus", .good, "\(allowance.cpus)"))
    }
    // CPUs that the kernel was told to keep for somebody: guests, as a rule.
    for (name, what) in [("isolated", "isolcpus"), ("nohz_full", "nohz_full")] {
      guard let kept = files.list("/sys/devices/system/cpu/\(name)"), !kept.isEmpty else { continue }
      let rest = allowance.cpus.subtracting(kept)
      let shared = allowance.cpus.intersection(kept)
      findings.append(
        Finding(
          "placement", what, .note, "\(kept)",
          advice: shared.isEmpty || rest.isEmpty ? nil : "--cpus \(rest) keeps workers off them"))
    }
    return findings
  }

  private var limits: [Finding] {
    let group = ControlGroup(reading: files)
    var findings: [Finding] = []
    if let cpus = group.cpus, cpus != topology.onlineCPUs {
      findings.append(Finding("placement", "cgroup cpuset", .note, "CPUs \(cpus)"))
    }
    if let quota = group.quota {
      findings.append(
        Finding(
          "placement", "cgroup quota", .note,
          "\(Decimal.fixed(quota * 100, digits: 0)) % of a CPU: the default is \(Self.count(allowance.workerCount, "worker"))",
          advice: quota < Double(allowance.cpus.count)
            ? "a migration that uses it up stands still until the next period" : nil))
    }
    return findings
  }

  private var nodes: [Finding] {
    var findings = topology.nodes.map { node in
      let memory =
        node.memoryByteCount > 0
        ? "\(ByteCount.format(node.memoryByteCount)), \(ByteCount.format(node.freeByteCount)) free" : "no memory"
      let others = topology.nodes.filter { $0.number != node.number }.map {
        "\(topology.distance(from: node.number, to: $0.number)) to node \($0.number)"
      }
      let distance = others.isEmpty ? "" : "; distance \(others.joined(separator: ", "))"
      return Finding(
        "placement", "NUMA node \(node.number)", .good,
        "\(node.cpus.isEmpty ? "no CPUs" : "CPUs \(node.cpus)"), \(memory)\(distance)")
    }
    // With memory in one place nothing is bound.
    if topology.memoryNodes.count > 1 {
      let refusal = MemoryPolicy.refusal
      findings.append(
        refusal.map {
          Finding(
            "placement", "memory policies", .missing, "refused (\($0)): buffers lie where they are touched first",
            advice: "a container needs CAP_SYS_NICE, or a filter that allows mbind")
        } ?? Finding("placement", "memory policies", .good, "buffers can be bound to nodes"))
    }
    return findings
  }

  private var networks: [Finding] {
    // On one node it makes no difference.
    guard topology.nodes.count > 1 else { return [] }
    return HostTopology.interfacesWithDevices().map { name in
      guard let node = HostTopology.node(ofInterface: name) else {
        return Finding("placement", name, .good, "its node is not known")
      }
      let usable = topology.node(node)?.cpus.intersection(allowance.cpus).isEmpty == false
      return Finding(
        "placement", name, usable ? .good : .note, "node \(node)\(usable ? "" : ", where no CPU may be used")")
    }
  }

  private var plan: [Finding] {
    let channels = 2
    let placement = options.plan(interface: networkInterface) { request in
      request.channelCount = channels
      request.laneCount = max(channels, allowance.workerCount)
    }
    let asked = options.policy == .automatic ? "auto: " : ""
    guard placement.policy != .none else {
      return [Finding("placement", "plan", .good, "\(asked)workers are not bound")]
    }
    let lines = placement.lines.map { $0.split(separator: ": ", maxSplits: 1) }
    let most = 16
    let shown = lines.prefix(most).map { Finding("placement", String($0[0]), .good, String($0.last ?? "")) }
    let rest = lines.count - shown.count
    return [Finding("placement", "plan", .good, "\(asked)\(placement.policy.rawValue), 2 channels")] + shown
      + (rest > 0 ? [Finding("placement", "…", .good, "and \(rest) more")] : [])
  }

  /// The only one whose node is known, if there is only one.
  private var networkInterface: String? {
    let known = HostTopology.interfacesWithDevices().filter { HostTopology.node(ofInterface: $0) != nil }
    return known.count == 1 ? known[0] : nil
  }

  private static func count(_ number: Int, _ thing: String) -> String { "\(number) \(thing)\(number == 1 ? "" : "s")" }
}
