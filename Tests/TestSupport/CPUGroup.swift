// SPDX-License-Identifier: Apache-2.0
import Glibc
import HostSystem
import Synchronization
import SystemPackage

/// A real control group with a CPU quota (version 1), until ``remove()``.
public final class CPUGroup {
  public let path: String
  private static let root = "/sys/fs/cgroup/cpu"
  private static let count = Atomic<Int>(0)

  /// Why no group can be made here; nil if it can.
  public static let refusal: String? = {
    do { try CPUGroup().remove() } catch { return "no control group can be made in \(root): \(error)" }
    return nil
  }()

  public init() throws {
    let number = Self.count.add(1, ordering: .relaxed).newValue
    path = "\(Self.root)/pageferry-test-\(getpid())-\(number)"
    guard unsafe mkdir(path, 0o755) == 0 else { throw Errno(rawValue: errno) }
    _ = try read("cpu.cfs_quota_us")
  }

  /// What is in it must have ended before.
  public func remove() {
    // The kernel takes a moment to see that a process has left.
    for _ in 0..<100 {
      if unsafe rmdir(path) == 0 { return }
      HostClock.sleep(nanoseconds: 10_000_000)
    }
  }

  public func add(_ pid: Int32) throws { try write("\(pid)", to: "cgroup.procs") }

  /// `-1 100000`: time and period in microseconds.
  public func quota() throws -> String { "\(try read("cpu.cfs_quota_us")) \(try read("cpu.cfs_period_us"))" }

  public func setQuota(time: Int, period: Int) throws {
    try write("\(period)", to: "cpu.cfs_period_us")
    try write("\(time)", to: "cpu.cfs_quota_us")
  }

  private func read(_ name: String) throws -> Int {
    guard let text = HostMemory.firstBytes(of: "\(path)/\(name)"), let number = Int(text.dropLast()) else {
      throw Errno.noSuchFileOrDirectory
    }
    return number
  }

  private func write(_ text: String, to name: String) throws {
    let file = try FileDescriptor.open(FilePath("\(path)/\(name)"), .writeOnly)
    defer { try? file.close() }
    try file.writeAll(Array(text.utf8))
  }
}
