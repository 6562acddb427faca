// SPDX-License-Identifier: Apache-2.0

/// What the control groups of this process say about CPUs: version 2, version 1, or both side by side.
///
/// A limit of any group above holds as well; so each is looked at, from the process's own up to the mount's root. In a
/// container without a cgroup namespace the process's path does not exist below the mount: then only the root is found, which
/// is the container's own.
public struct ControlGroup: Sendable, Equatable {
  /// The CPUs of the innermost cpuset; nil where there is none.
  public var cpus: CPUSet?
  /// CPU time per time, in CPUs: the least of all groups above. Nil for no limit.
  public var quota: Double?

  public init(cpus: CPUSet?, quota: Double?) {
    self.cpus = cpus
    self.quota = quota
  }

  /// Of the calling process.
  public init(reading files: HostFiles = HostFiles()) {
    self.init(cpus: nil, quota: nil)
    for line in (files.text("/proc/self/cgroup") ?? "").split(separator: "\n") {
      // `0::/user.slice` is version 2; `3:cpu,cpuacct:/user.slice` version 1.
      let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard parts.count == 3, parts[2].first == "/", !parts[2].contains("..") else { continue }
      let controllers = parts[1].split(separator: ",")
      if parts[0] == "0", parts[1].isEmpty {
        for mount in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
          read(files, mount, parts[2], cpuset: "cpuset.cpus.effective") { Self.maximum(files.text("\($0)/cpu.max")) }
        }
      } else if controllers.contains("cpu") {
        for mount in ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"] {
          read(files, mount, parts[2], cpuset: nil) {
            Self.quota(files.number("\($0)/cpu.cfs_quota_us"), files.number("\($0)/cpu.cfs_period_us"))
          }
        }
      } else if controllers.contains("cpuset") {
        read(files, "/sys/fs/cgroup/cpuset", parts[2], cpuset: "cpuset.effective_cpus") { _ in nil }
      }
    }
  }

  /// Walks from a group up to its mount.
  private mutating func read(
    _ files: HostFiles, _ mount: String, _ path: Substring, cpuset: String?, _ quotaOf: (String) -> Double?
  ) {
    var path = path
    while path.last == "/" { path.removeLast() }
    while true {
      let folder = mount + path
      if let cpuset, cpus == nil, let list = files.list("\(folder)/\(cpuset)"), !list.isEmpty { cpus = list }
      if let found = quotaOf(folder) { quota = min(quota ?? found, found) }
      guard let last = path.lastIndex(of: "/") else { return }
      path = path[..<last]
    }
  }

  /// `150000 100000`, or `max 100000`.
  private static func maximum(_ text: String?) -> Double? {
    let words = (text ?? "").split(separator: " ")
    return words.count == 2 ? quota(Int(words[0]), Int(words[1])) : nil
  }

  /// -1 is no limit.
  private static func quota(_ quota: Int?, _ period: Int?) -> Double? {
    guard let quota, let period, quota > 0, period > 0 else { return nil }
    return Double(quota) / Double(period)
  }
}
