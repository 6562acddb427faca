// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

@testable import HostSystem

/// Which control group a quota may be set on, on hosts that are files.
@Suite struct GuestGroupTests {
  /// A process 500 with a thread 501, and a host around it.
  private func find(_ files: [String: String]) throws -> QuotaGroup {
    let stat = "500 (vm (x) y) S 400 0 0 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 2 0 777 0"
    let host = try RecordedHost(files: ["/proc/500/stat": stat, "/proc/self/task/9/comm": "us"].merging(files) { $1 })
    return try GuestGroup.find(of: ProcessIdentity(pid: 500, startTime: 777), HostFiles(root: host.root))
  }

  private func threads(_ first: String, _ second: String) -> [String: String] {
    ["/proc/500/task/500/cgroup": first, "/proc/500/task/501/cgroup": second]
  }

  private func stat(_ pid: Int, parent: Int, flags: Int = 4_194_304) -> String {
    "\(pid) (other) S \(parent) 0 0 0 -1 \(flags) 0 0 0 0 0 0 0 0 20 0 1 0 888 0"
  }

  private static let v1 = "1:cpu,cpuacct:/vm/a\n0::/elsewhere"
  private static let v1Files = [
    "/sys/fs/cgroup/cpu,cpuacct/vm/a/cpu.cfs_quota_us": "-1",
    "/sys/fs/cgroup/cpu,cpuacct/vm/a/cpu.cfs_period_us": "100000",
    "/sys/fs/cgroup/cpu,cpuacct/vm/a/cgroup.procs": "500",
    "/sys/fs/cgroup/cpu,cpuacct/vm/a/tasks": "500\n501",
  ]

  @Test("Version 1, its own group")
  func legacy() throws {
    let group = try find(threads(Self.v1, Self.v1).merging(Self.v1Files) { $1 })
    #expect(group == QuotaGroup(version: .v1, folder: "/sys/fs/cgroup/cpu,cpuacct/vm/a"))
  }

  @Test("Version 2, threads in groups below (as libvirt has them): the group that holds them all")
  func libvirt() throws {
    let machine = "/sys/fs/cgroup/machine.slice/qemu.scope"
    let group = try find(
      threads("0::/machine.slice/qemu.scope/libvirt/emulator", "0::/machine.slice/qemu.scope/libvirt/vcpu0").merging([
        "\(machine)/libvirt/cpu.max": "max 100000", "\(machine)/libvirt/cgroup.threads": "",
        "\(machine)/libvirt/cgroup.procs": "",
        "\(machine)/libvirt/emulator/cgroup.threads": "500", "\(machine)/libvirt/emulator/cgroup.procs": "500",
        "\(machine)/libvirt/vcpu0/cgroup.threads": "501", "\(machine)/libvirt/vcpu0/cgroup.procs": "",
      ]) { $1 })
    #expect(group == QuotaGroup(version: .v2, folder: "\(machine)/libvirt"))
  }

  @Test("Its children and the kernel's threads may be in the group, others not, not even below it")
  func members() throws {
    var files = threads(Self.v1, Self.v1).merging(Self.v1Files) { $1 }
    files["/sys/fs/cgroup/cpu,cpuacct/vm/a/tasks"] = "500\n501\n600\n601\n602\n603"
    files["/proc/600/stat"] = stat(600, parent: 500)
    files["/proc/601/stat"] = stat(601, parent: 600)
    files["/proc/602/stat"] = stat(602, parent: 2, flags: 0x20_8040)
    // 603 has ended meanwhile.
    _ = try find(files)
    files["/proc/700/stat"] = stat(700, parent: 400)
    files["/proc/400/stat"] = stat(400, parent: 1)
    files["/sys/fs/cgroup/cpu,cpuacct/vm/a/below/cgroup.procs"] = "700"
    files["/sys/fs/cgroup/cpu,cpuacct/vm/a/below/tasks"] = "700"
    let folder = "/sys/fs/cgroup/cpu,cpuacct/vm/a"
    #expect(throws: ThrottleError.controlGroupShared(group: folder, with: 700)) { try find(files) }
    files["/sys/fs/cgroup/cpu,cpuacct/vm/a/below/tasks"] = "9"
    #expect(throws: ThrottleError.controlGroupHoldsUs(group: folder)) { try find(files) }
    files["/sys/fs/cgroup/cpu,cpuacct/vm/a/below/tasks"] = "0"
    #expect(throws: ThrottleError.controlGroupShared(group: folder, with: 0)) { try find(files) }
  }

  @Test(
    "The root is no group of its own, nor is one of another namespace, nor two that only share the root",
    arguments: [
      ("1:cpu:/\n0::/", "1:cpu:/\n0::/"), ("0::/../x", "0::/../x"), ("0::/a", "0::/b"), ("0::/a", "nonsense"), ("", ""),
    ])
  func none(first: String, second: String) throws {
    #expect(throws: ThrottleError.noControlGroup(pid: 500)) { try find(threads(first, second)) }
  }

  @Test("Version 2 without the cpu controller is said to be that")
  func noController() throws {
    let folder = "/sys/fs/cgroup/vm"
    let error = #expect(throws: ThrottleError.self) {
      try find(
        threads("0::/vm", "0::/vm").merging(["\(folder)/cgroup.threads": "500", "\(folder)/cgroup.procs": "500"]) { $1 }
      )
    }
    #expect(error == .controllerNotEnabled(group: folder))
    #expect(error?.description.contains("subtree_control") == true)
  }
}
