// SPDX-License-Identifier: Apache-2.0
import HostSystem
import PageKernels

/// What a host is like. Nothing in it names the host or who runs it.
public struct HostDescription: Sendable, Equatable, Codable {
  /// Program and version.
  public var software: String
  /// `Linux 6.1.0-13-amd64 x86_64`
  public var kernel: String
  public var processor: String
  /// CPUs that the process may use.
  public var cpus: Int
  /// The widest instruction set that the page kernels use.
  public var instructions: String
  public var memory: UInt64
  public var memoryAvailable: UInt64
  /// Setting of transparent huge pages.
  public var hugePages: String
  /// TCP congestion control by default.
  public var congestionControl: String
  /// Of the running kernel; the same for two processes within a host. A checksum, from which nothing else follows.
  public var boot: String

  /// This host.
  public static func current(software: String) -> HostDescription {
    let kernel = HostProbes.kernel
    let boot = HostMemory.firstBytes(of: "/proc/sys/kernel/random/boot_id") ?? ""
    return HostDescription(
      software: software, kernel: "Linux \(kernel.release) \(kernel.machine)",
      processor: value(of: "model name", in: "/proc/cpuinfo") ?? kernel.machine, cpus: HostThread.allowedCPUs().count,
      instructions: "\(KernelTier.best)",
      memory: value(of: "MemTotal", in: "/proc/meminfo").flatMap { UInt64($0.filter { $0.isNumber }) }.map { $0 << 10 }
        ?? 0,
      memoryAvailable: HostMemory.availableByteCount ?? 0,
      hugePages: chosen(HostMemory.firstBytes(of: "/sys/kernel/mm/transparent_hugepage/enabled"))
        ?? "not in this kernel",
      congestionControl: HostMemory.firstBytes(of: "/proc/sys/net/ipv4/tcp_congestion_control")?
        .trimming() ?? "unknown",
      boot: boot.isEmpty ? "" : String(PageHash.checksum(Array(boot.utf8)), radix: 16))
  }

  /// Whether both are processes of one host.
  public func isSameHost(as other: HostDescription) -> Bool { !boot.isEmpty && boot == other.boot }

  private static func value(of name: String, in path: String) -> String? {
    guard let text = HostMemory.firstBytes(of: path) else { return nil }
    for line in text.split(separator: "\n") where line.hasPrefix(name) {
      return line.split(separator: ":", maxSplits: 1).last.map { String($0).trimming() }
    }
    return nil
  }

  /// `madvise` of `always [madvise] never`.
  private static func chosen(_ text: String?) -> String? {
    text?.split(separator: "[").dropFirst().first?.split(separator: "]").first.map { String($0) }
  }

  func check() throws(BenchError) {
    try Limits.check("cpus", cpus, in: 1...(1 << 20))
    try Limits.check("memory", max(memory, memoryAvailable), in: 0...(1 << 60))
  }

  func printable() -> HostDescription {
    var copy = self
    copy.software = Printable.text(software)
    copy.kernel = Printable.text(kernel)
    copy.processor = Printable.text(processor)
    copy.instructions = Printable.text(instructions)
    copy.hugePages = Printable.text(hugePages)
    copy.congestionControl = Printable.text(congestionControl)
    copy.boot = Printable.text(boot)
    return copy
  }
}

extension String {
  fileprivate func trimming() -> String {
    var rest = self[...]
    while let first = rest.first, first.isWhitespace { rest.removeFirst() }
    while let last = rest.last, last.isWhitespace { rest.removeLast() }
    return String(rest)
  }
}
