// SPDX-License-Identifier: Apache-2.0
import HostSystem
import PageFerry
import PageKernels

/// The processor: instruction sets.
enum ProcessorChecks {
  static func run() -> [Finding] {
    let best = KernelTier.best
    let allowed = KernelTier.available.map { "\($0)" }.joined(separator: ", ")
    return [
      Finding("processor", "page kernels", best == .scalar ? .note : .good, "\(best) (available: \(allowed))")
    ]
  }
}

/// Memory: how much, and in which page sizes.
enum MemoryChecks {
  static func run() -> [Finding] {
    var findings = [
      Finding(
        "memory", "available", .good, HostMemory.availableByteCount.map { ByteCount.format($0) } ?? "unknown"),
      transparentHugePages(),
    ]
    for (name, size) in [("2 MiB pages", "2048kB"), ("1 GiB pages", "1048576kB")] {
      let folder = "/sys/kernel/mm/hugepages/hugepages-\(size)"
      guard let total = HostMemory.firstBytes(of: "\(folder)/nr_hugepages").flatMap({ number($0) }) else { continue }
      let free = HostMemory.firstBytes(of: "\(folder)/free_hugepages").flatMap { number($0) } ?? 0
      findings.append(Finding("memory", name, .good, "\(total) reserved, \(free) free"))
    }
    return findings
  }

  private static func transparentHugePages() -> Finding {
    let path = "/sys/kernel/mm/transparent_hugepage/enabled"
    guard let text = HostMemory.firstBytes(of: path) else {
      return Finding("memory", "transparent huge pages", .missing, "not in this kernel")
    }
    // `always [madvise] never`
    let chosen =
      text.split(whereSeparator: { $0.isWhitespace }).first { $0.hasPrefix("[") }.map {
        String($0.dropFirst().dropLast())
      } ?? "?"
    guard chosen == "never" else { return Finding("memory", "transparent huge pages", .good, chosen) }
    return Finding(
      "memory", "transparent huge pages", .note, "never: a destination faults in every 4 KiB page by itself",
      advice: "echo madvise > \(path)")
  }

  static func number(_ text: String) -> Int? { Int(text.filter { $0.isNumber }) }
}

/// The kernel: what it offers beyond the basics.
enum KernelChecks {
  static func run() -> [Finding] {
    let kernel = HostProbes.kernel
    return [
      Finding("kernel", "release", .good, "\(kernel.release) \(kernel.machine)"),
      HostProbes.populateWrite
        ? Finding("kernel", "populate ahead", .good, "MADV_POPULATE_WRITE works")
        : Finding("kernel", "populate ahead", .missing, "no MADV_POPULATE_WRITE", advice: "Linux 5.14 or newer"),
      dirtyTracking(),
      HostProbes.pagemapScan
        ? Finding("kernel", "PAGEMAP_SCAN", .good, "works: dirty pages are read in one call")
        : Finding("kernel", "PAGEMAP_SCAN", .missing, "not there", advice: "Linux 6.7 or newer"),
      HostProbes.canUse("/dev/kvm")
        ? Finding("kernel", "KVM", .good, "/dev/kvm can be used")
        : Finding(
          "kernel", "KVM", .note, "/dev/kvm cannot be used: guests run under emulation",
          advice: "load kvm_intel or kvm_amd, and join the group 'kvm'"),
      lockedMemory(),
    ]
  }

  private static func dirtyTracking() -> Finding {
    let name = "dirty tracking"
    guard let refusal = DirtyTracking.refusal(of: .asynchronous) else {
      return Finding("kernel", name, .good, "userfaultfd write-protects asynchronously")
    }
    guard let worse = DirtyTracking.refusal(of: .synchronous) else {
      return Finding(
        "kernel", name, .note, "slow: each first write to a page waits for a thread; \(refusal.missing)",
        advice: refusal.remedy)
    }
    return Finding("kernel", name, .missing, worse.missing, advice: worse.remedy)
  }

  private static func lockedMemory() -> Finding {
    guard let limit = HostProbes.memoryLockLimit else { return Finding("kernel", "locked memory", .good, "no limit") }
    return Finding("kernel", "locked memory", .note, "\(ByteCount.format(limit)) (ulimit -l): limits zero-copy sending")
  }
}

/// The network: what TCP does by default here.
enum NetworkChecks {
  static func run() -> [Finding] {
    let folder = "/proc/sys/net"
    func words(_ path: String) -> [String] {
      (HostMemory.firstBytes(of: "\(folder)/\(path)") ?? "").split { $0.isWhitespace }.map { String($0) }
    }
    let control = words("ipv4/tcp_congestion_control").first ?? "unknown"
    let available = words("ipv4/tcp_available_congestion_control").joined(separator: ", ")
    var findings = [
      control == "bbr"
        ? Finding(
          "network", "congestion control", .note, "bbr (available: \(available))",
          advice: "bbr paces, which costs throughput on loopback and in one data centre: try --congestion cubic")
        : Finding("network", "congestion control", .good, "\(control) (available: \(available))")
    ]
    for (name, path) in [("send buffer", "ipv4/tcp_wmem"), ("receive buffer", "ipv4/tcp_rmem")] {
      guard let largest = words(path).last.flatMap({ UInt64($0) }) else { continue }
      // 4 MiB holds 10 Gbit/s at 3 ms: enough for a data centre, not for a long line.
      findings.append(
        Finding(
          "network", name, largest < 4 << 20 ? .note : .good, "tuned by the kernel up to \(ByteCount.format(largest))",
          advice: largest < 4 << 20
            ? "sysctl net.\(path.split(separator: "/").joined(separator: ".")) with a larger third number" : nil))
    }
    return findings
  }
}
