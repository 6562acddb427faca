// SPDX-License-Identifier: Apache-2.0
import SystemPackage

/// Finds the control group whose quota would slow down one process, all of it, and nothing else.
struct GuestGroup {
  let process: ProcessIdentity
  let files: HostFiles

  /// - Throws: `noControlGroup`, `controlGroupShared`, `controlGroupHoldsUs`, `controllerNotEnabled`, `processGone`, or
  ///   `controlGroupRefused` if this user may not write its quota.
  static func find(of process: ProcessIdentity, _ files: HostFiles) throws(ThrottleError) -> QuotaGroup {
    let search = GuestGroup(process: process, files: files)
    let group = try search.group()
    try search.checkMembers(of: group, folder: group.folder)
    guard files.canWrite(group.quotaFile) else {
      throw .controlGroupRefused(file: group.quotaFile, .permissionDenied)
    }
    return group
  }

  /// The innermost group that holds all threads: a VMM may have its threads in groups below one of its own (libvirt has
  /// `emulator`, `vcpu0` …).
  private func group() throws(ThrottleError) -> QuotaGroup {
    var version = QuotaGroup.Version.v2
    var common: [Substring]?
    for thread in files.names("/proc/\(process.pid)/task") {
      // A thread may end meanwhile.
      guard let text = files.text("/proc/\(process.pid)/task/\(thread)/cgroup"),
        let (found, path) = Self.path(in: text)
      else { continue }
      version = found
      let steps = path.split(separator: "/")
      common = common.map { zip($0, steps).prefix { $0 == $1 }.map { $0.0 } } ?? steps
    }
    guard let common else {
      throw process.exists(files) ? .noControlGroup(pid: process.pid) : .processGone(pid: process.pid)
    }
    // The root is everybody's; `..` is seen from within another namespace.
    guard !common.isEmpty, !common.contains("..") else { throw .noControlGroup(pid: process.pid) }
    let path = common.joined(separator: "/")
    let mounts =
      version == .v1
      ? ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"] : ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
    for mount in mounts {
      let group = QuotaGroup(version: version, folder: "\(mount)/\(path)")
      guard files.exists(group.threadsFile) else { continue }
      guard group.read(files) != nil else { throw .controllerNotEnabled(group: group.folder) }
      return group
    }
    throw .noControlGroup(pid: process.pid)
  }

  /// A controller belongs to version 1 or to version 2: where version 1 has it, version 2 has no quota.
  private static func path(in text: String) -> (QuotaGroup.Version, Substring)? {
    var unified: Substring?
    for line in text.split(separator: "\n") {
      let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard parts.count == 3, parts[2].first == "/" else { continue }
      if parts[1].split(separator: ",").contains("cpu") { return (.v1, parts[2]) }
      if parts[0] == "0", parts[1].isEmpty { unified = parts[2] }
    }
    return unified.map { (.v2, $0) }
  }

  /// A quota holds for all groups below as well.
  private func checkMembers(of group: QuotaGroup, folder: String) throws(ThrottleError) {
    let here = QuotaGroup(version: group.version, folder: folder)
    for line in (files.text(here.threadsFile) ?? "").split(separator: "\n") {
      // 0 is a thread of a process that this namespace does not show.
      let thread = Int32(line) ?? 0
      if files.exists("/proc/self/task/\(thread)") { throw .controlGroupHoldsUs(group: group.folder) }
      guard belongs(thread) else { throw .controlGroupShared(group: group.folder, with: thread) }
    }
    for name in files.names(folder) where files.exists("\(folder)/\(name)/cgroup.procs") {
      try checkMembers(of: group, folder: "\(folder)/\(name)")
    }
  }

  /// Whether a thread is the guest's, or of a process that it started, or the kernel's (its vhost threads are in the
  /// group of the process that they work for).
  private func belongs(_ thread: Int32) -> Bool {
    if files.exists("/proc/\(process.pid)/task/\(thread)") { return true }
    var pid = thread
    for _ in 0..<64 {
      // What has ended meanwhile needs no CPU.
      guard pid > 0, let stat = ProcessStat(of: pid, files) else { return thread > 0 && pid == thread }
      if stat.isKernelThread || stat.parent == process.pid { return true }
      if stat.parent <= 1 { return false }
      pid = stat.parent
    }
    return false
  }
}
