// SPDX-License-Identifier: Apache-2.0
import CHostSystem
import Glibc
import SystemPackage

/// A process, held by a pidfd: whoever gets its number after it, nothing is done to that one.
final class ProcessHandle: Sendable {
  let identity: ProcessIdentity
  private let descriptor: FileDescriptor
  private let files: HostFiles

  /// Takes hold of a process that may be signalled.
  init(_ pid: Int32, _ files: HostFiles) throws(ThrottleError) {
    guard pid > 1, pid != getpid() else { throw .notAProcess(pid: pid) }
    let opened = hs_process_open(pid)
    guard opened >= 0 else {
      switch -opened {
      case ESRCH: throw .processGone(pid: pid)
      case EINVAL, ENOENT: throw .notAProcess(pid: pid)
      default: throw .notSupported(Errno(rawValue: -opened))
      }
    }
    let descriptor = FileDescriptor(rawValue: opened)
    // What is read of the number after it was opened is of this process if that has not ended since.
    let identity = ProcessIdentity(of: pid, files)
    guard let identity, !Self.hasEnded(descriptor) else {
      try? descriptor.close()
      throw .processGone(pid: pid)
    }
    self.identity = identity
    self.descriptor = descriptor
    self.files = files
    try signal(0)
  }

  deinit { try? descriptor.close() }

  /// Whether it has ended.
  var hasEnded: Bool { Self.hasEnded(descriptor) }

  /// Sends a signal; 0 only asks whether it could be sent.
  func signal(_ number: CInt) throws(ThrottleError) {
    switch -hs_process_signal(descriptor.rawValue, number) {
    case 0: return
    case ESRCH: throw .processGone(pid: identity.pid)
    case EPERM: throw .notPermitted(pid: identity.pid)
    case let other: throw .notSupported(Errno(rawValue: other))
    }
  }

  /// Whether it is stopped, by whomever.
  var isStopped: Bool { ProcessStat(of: identity.pid, files)?.isStopped ?? false }

  /// CPU time of all its threads so far, in nanoseconds; nil once it has ended. Unlike the times in /proc, which the
  /// kernel counts in ticks, this is exact.
  var cpuNanoseconds: UInt64? {
    var clock = clockid_t()
    var time = timespec()
    guard unsafe clock_getcpuclockid(identity.pid, &clock) == 0, unsafe clock_gettime(clock, &time) == 0, !hasEnded
    else { return nil }
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }

  private static func hasEnded(_ descriptor: FileDescriptor) -> Bool {
    var wanted = pollfd(fd: descriptor.rawValue, events: Int16(POLLIN), revents: 0)
    return unsafe poll(&wanted, 1, 0) > 0
  }
}
