// SPDX-License-Identifier: Apache-2.0
import CHostSystem
import Glibc

/// What this kernel lets this process do, found by trying.
public enum HostProbes {
  /// Whether MADV_POPULATE_WRITE works (Linux 5.14).
  public static var populateWrite: Bool { hs_probe_populate_write() == 0 }

  /// Whether the PAGEMAP_SCAN ioctl works (Linux 6.7).
  public static var pagemapScan: Bool { hs_probe_pagemap_scan() == 0 }

  /// Bytes that this process may lock, nil for no limit.
  public static var memoryLockLimit: UInt64? {
    let limit = hs_memory_lock_limit()
    return limit == .max ? nil : UInt64(clamping: limit)
  }

  /// Whether this process may open `path` for reading and writing.
  public static func canUse(_ path: String) -> Bool { unsafe access(path, R_OK | W_OK) == 0 }

  /// The kernel's release (`uname -r`) and machine (`uname -m`).
  public static var kernel: (release: String, machine: String) {
    var name = utsname()
    _ = unsafe uname(&name)
    let release = unsafe withUnsafeBytes(of: &name.release) { unsafe text($0) }
    let machine = unsafe withUnsafeBytes(of: &name.machine) { unsafe text($0) }
    return (release, machine)
  }

  private static func text(_ bytes: UnsafeRawBufferPointer) -> String {
    unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
  }
}
