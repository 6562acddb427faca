// SPDX-License-Identifier: Apache-2.0
public import SystemPackage

/// Why a process could not be throttled, or not be released: one sentence each, with what to do about it.
public enum ThrottleError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The number is not that of another process: 1, a thread of a process, this process itself.
  case notAProcess(pid: Int32)
  case processGone(pid: Int32)
  case notPermitted(pid: Int32)
  /// The kernel has no pidfds (Linux 5.3), or gives none.
  case notSupported(Errno)
  /// Another process throttles it.
  case alreadyThrottled(pid: Int32, by: Int32)

  /// Every thread of the process being in one control group other than the root is what a quota needs.
  case noControlGroup(pid: Int32)
  /// A quota would hold for this process as well.
  case controlGroupShared(group: String, with: Int32)
  /// A quota would hold for us.
  case controlGroupHoldsUs(group: String)
  /// Version 2, and its group does not have the cpu controller.
  case controllerNotEnabled(group: String)
  case controlGroupRefused(file: String, Errno)

  /// The process that was to release it if this one is killed did not start, or has ended.
  case guardianFailed(reason: String)
  /// ``ProcessThrottle/release()`` was called.
  case released

  public var description: String {
    switch self {
    case .notAProcess(let pid): "\(pid) is not the number of a process that could be throttled"
    case .processGone(let pid): "process \(pid) does not exist, or has ended"
    case .notPermitted(let pid): "process \(pid) may not be signalled by this user"
    case .notSupported(let error): "the kernel gives no descriptor of a process (pidfd_open, Linux 5.3): \(error)"
    case .alreadyThrottled(let pid, let owner): "process \(pid) is throttled by process \(owner) already"
    case .noControlGroup(let pid):
      "process \(pid) has no control group of its own: throttle it by signals, or move it to one"
    case .controlGroupShared(let group, let other):
      "the control group \(group) also holds process \(other), which a quota would slow down as well: "
        + "throttle by signals, or move the process to a group of its own"
    case .controlGroupHoldsUs(let group):
      "the control group \(group) also holds the process that throttles: throttle by signals, or move one of the two"
    case .controllerNotEnabled(let group):
      "the control group \(group) has no cpu.max: write +cpu to cgroup.subtree_control of the group above it, "
        + "or throttle by signals"
    case .controlGroupRefused(let file, let error): "\(file) takes no quota: \(error)"
    case .guardianFailed(let reason): "the process that releases the throttle if this one is killed failed: \(reason)"
    case .released: "the throttle was released"
    }
  }
}
