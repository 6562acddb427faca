// SPDX-License-Identifier: Apache-2.0
import CHostSystem
import Glibc

/// Time and resource use of this process, as the kernel counts them.
public enum HostClock {
  /// Nanoseconds on CLOCK_MONOTONIC.
  public static func now() -> UInt64 {
    var time = timespec()
    _ = unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }

  /// Nanoseconds since a time that another thread may have taken, after this one has looked: then none.
  public static func elapsed(since time: UInt64) -> UInt64 {
    let now = now()
    return now - min(now, time)
  }

  /// Nanoseconds that this thread has spent on a CPU.
  public static func threadCPU() -> UInt64 {
    var time = timespec()
    _ = unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }

  /// Sleeps until ``now()`` is at least `time`.
  public static func sleep(until time: UInt64) {
    let now = now()
    if time > now { sleep(nanoseconds: time - now) }
  }

  /// Sleeps for `nanoseconds`.
  public static func sleep(nanoseconds: UInt64) {
    var time = timespec(tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
    var rest = timespec()
    while unsafe nanosleep(&time, &rest) != 0 && errno == EINTR { time = rest }
  }
}

/// What this process has used so far.
public struct ProcessUsage: Sendable {
  /// User and system time of all threads, in nanoseconds.
  public let cpuNanoseconds: Int64
  /// Most bytes resident at any time, mapped files included.
  public let peakResidentByteCount: Int64

  /// User and system time of all threads so far, in nanoseconds.
  public static var cpuNanoseconds: Int64 { hs_process_cpu_ns() }

  /// What the kernel says now. The peak is VmHWM of /proc/self/status: that of getrusage(2) is inherited from the
  /// process that forked this one.
  public static func current() -> ProcessUsage {
    let status = HostMemory.firstBytes(of: "/proc/self/status") ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
    let kibibytes = line.flatMap { Int64($0.filter { $0.isNumber }) } ?? 0
    return ProcessUsage(cpuNanoseconds: cpuNanoseconds, peakResidentByteCount: kibibytes << 10)
  }
}

extension Duration {
  /// Whole nanoseconds, zero if negative.
  public var nanoseconds: UInt64 {
    let parts = components
    guard parts.seconds >= 0, parts.attoseconds >= 0 else { return 0 }
    let (scaled, overflow) = UInt64(parts.seconds).multipliedReportingOverflow(by: 1_000_000_000)
    return overflow ? .max / 2 : scaled + UInt64(parts.attoseconds / 1_000_000_000)
  }

  /// Seconds with their fraction.
  public var seconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}
