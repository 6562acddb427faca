// SPDX-License-Identifier: Apache-2.0
import SystemPackage

/// What the kernel says about this host in /proc and /sys.
public enum HostMemory {
  /// `MemAvailable` of /proc/meminfo in bytes, or nil if it cannot be read.
  public static var availableByteCount: UInt64? {
    for line in (firstBytes(of: "/proc/meminfo") ?? "").split(separator: "\n") where line.hasPrefix("MemAvailable:") {
      return line.split(separator: " ").dropFirst().first.flatMap { UInt64($0) }.map { $0 << 10 }
    }
    return nil
  }

  /// The first 64 KiB, or `limit` bytes, of a small text file (procfs, sysfs), or nil.
  public static func firstBytes(of path: String, limit: Int = 64 << 10) -> String? {
    do {
      let file = try FileDescriptor.open(FilePath(path), .readOnly, options: [.closeOnExec])
      defer { try? file.close() }
      var bytes = [UInt8](repeating: 0, count: limit)
      var count = 0
      // The kernel gives such a file in parts of about a page.
      while count < bytes.count {
        let more = unsafe try bytes.withUnsafeMutableBytes { unsafe try file.read(into: .init(rebasing: $0[count...])) }
        if more == 0 { break }
        count += more
      }
      return String(decoding: bytes.prefix(count), as: UTF8.self)
    } catch { return nil }
  }
}
