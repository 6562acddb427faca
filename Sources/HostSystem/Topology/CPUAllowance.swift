// SPDX-License-Identifier: Apache-2.0

/// The CPUs that this process may use, and how much of them.
public struct CPUAllowance: Sendable, Equatable {
  /// What the calling thread may run on, which the cgroup's cpuset has a part in.
  public var affinity: CPUSet
  /// Of those, the ones that workers are to keep to.
  public var cpus: CPUSet
  /// Of CPU time, in CPUs: 1.5 is 150 %. Nil for no limit.
  public var quota: Double?

  public init(affinity: CPUSet, cpus: CPUSet, quota: Double? = nil) {
    self.affinity = affinity
    self.cpus = cpus
    self.quota = quota
  }

  /// What this process has, now.
  /// - Parameter wanted: what an operator restricts workers to; nil for no restriction.
  /// - Throws: if nothing of that may be used.
  public init(restrictedTo wanted: CPUSet?, files: HostFiles = HostFiles()) throws(CPUAllowanceError) {
    let affinity = HostThread.allowedCPUSet
    let cpus = wanted.map { affinity.intersection($0) } ?? affinity
    if let wanted, cpus.isEmpty { throw CPUAllowanceError(wanted: wanted, allowed: affinity) }
    self.init(affinity: affinity, cpus: cpus, quota: ControlGroup(reading: files).quota)
  }

  /// Threads that can work at the same time: one per CPU, and no more than the quota keeps busy. At least one.
  public var workerCount: Int {
    let byQuota = quota.map { $0 < Double(CPUSet.numberMax) ? Int($0.rounded(.up)) : CPUSet.numberMax } ?? .max
    return max(1, min(cpus.count, byQuota))
  }
}

/// None of the CPUs that were asked for may be used.
public struct CPUAllowanceError: Error, Equatable, CustomStringConvertible {
  public var wanted: CPUSet
  public var allowed: CPUSet

  public var description: String {
    wanted.isEmpty
      ? "the list of CPUs is empty" : "none of CPUs \(wanted) may be used here; what may be is \(allowed)"
  }
}
