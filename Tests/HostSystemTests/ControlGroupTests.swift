// SPDX-License-Identifier: Apache-2.0
import HostSystem
import TestSupport
import Testing

@Suite struct ControlGroupTests {
  private func read(_ files: [String: String]) throws -> ControlGroup {
    let host = try RecordedHost(files: files)
    return ControlGroup(reading: HostFiles(root: host.root))
  }

  @Test("Version 2: the cpuset that holds, and the least quota of all groups above")
  func unified() throws {
    let found = try read([
      "/proc/self/cgroup": "0::/vm.slice/mover.service",
      "/sys/fs/cgroup/cpuset.cpus.effective": "0-7", "/sys/fs/cgroup/vm.slice/cpuset.cpus.effective": "0-3",
      "/sys/fs/cgroup/vm.slice/mover.service/cpuset.cpus.effective": "2-3",
      "/sys/fs/cgroup/vm.slice/cpu.max": "150000 100000",
      "/sys/fs/cgroup/vm.slice/mover.service/cpu.max": "max 100000",
    ])
    #expect(found == ControlGroup(cpus: [2, 3], quota: 1.5))
  }

  @Test("Version 2 in a container: its group is the mount's root")
  func container() throws {
    let inside = try read([
      "/proc/self/cgroup": "0::/", "/sys/fs/cgroup/cpu.max": "50000 100000",
      "/sys/fs/cgroup/cpuset.cpus.effective": "4-5",
    ])
    #expect(inside == ControlGroup(cpus: [4, 5], quota: 0.5))
    // Without a namespace of its own the path is the host's, and does not exist here.
    let host = try read(["/proc/self/cgroup": "0::/docker/0123", "/sys/fs/cgroup/cpu.max": "300000 100000"])
    #expect(host.quota == 3)
  }

  @Test("Version 1, and both side by side")
  func legacy() throws {
    let legacy = try read([
      "/proc/self/cgroup": "4:cpu,cpuacct:/a/b\n3:cpuset:/a\n2:memory:/x",
      "/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us": "-1",
      "/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us": "100000",
      "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "250000",
      "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000",
      "/sys/fs/cgroup/cpuset/a/cpuset.effective_cpus": "1,3",
    ])
    #expect(legacy == ControlGroup(cpus: [1, 3], quota: 2.5))
    let hybrid = try read([
      "/proc/self/cgroup": "1:cpu:/a\n0::/b", "/sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "100000",
      "/sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000", "/sys/fs/cgroup/unified/b/cpu.max": "80000 100000",
    ])
    #expect(hybrid.quota == 0.8)
  }

  @Test(
    "No limit, and nonsense, are no limit",
    arguments: ["max 100000", "", "100000", "0 100000", "100000 0", "-5 10", "a b", "1 2 3", "99999999999999999999 1"])
  func noLimit(text: String) throws {
    #expect(try read(["/proc/self/cgroup": "0::/", "/sys/fs/cgroup/cpu.max": text]).quota == nil)
    #expect(try read(["/proc/self/cgroup": text]) == ControlGroup(cpus: nil, quota: nil))
  }

  @Test("A path that leaves the mount is not followed")
  func escape() throws {
    let found = try read([
      "/proc/self/cgroup": "0::/../../proc", "/sys/fs/cgroup/cpu.max": "1 1", "/proc/cpu.max": "1 2",
    ])
    #expect(found == ControlGroup(cpus: nil, quota: nil))
  }

  @Test(
    "Workers: one per CPU, and no more than the quota keeps busy",
    arguments: [(8, 1.5, 2), (8, 0.1, 1), (8, 8.0, 8), (2, 6.0, 2), (8, nil, 8), (1, nil, 1), (4, 1e18, 4)])
  func workers(cpus: Int, quota: Double?, expected: Int) {
    let set = CPUSet(0..<cpus)
    #expect(CPUAllowance(affinity: set, cpus: set, quota: quota).workerCount == expected)
  }

  @Test("CPUs that may not be used are refused by name; of some, those that may be remain")
  func restriction() throws {
    let here = HostThread.allowedCPUSet
    let first: CPUSet = [try #require(here.numbers.first)]
    let elsewhere = CPUSet([CPUSet.numberMax])
    let error = #expect(throws: CPUAllowanceError.self) { try CPUAllowance(restrictedTo: elsewhere) }
    #expect(error?.description.contains("8191") == true && error?.description.contains("\(here)") == true)
    #expect(throws: CPUAllowanceError.self) { try CPUAllowance(restrictedTo: []) }
    #expect(try CPUAllowance(restrictedTo: first.union(elsewhere)).cpus == first)
    #expect(try CPUAllowance(restrictedTo: nil).cpus == here)
  }
}
