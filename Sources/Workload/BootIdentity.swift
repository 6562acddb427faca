// SPDX-License-Identifier: Apache-2.0
import HostSystem
import PageKernels

/// Which monotonic clock this is: one for each boot of a host.
///
/// A guest that moves within a host (a test, a demonstration) takes the time of its last write along, and so sees how
/// long it stood still. That of another host's clock would mean nothing.
enum BootIdentity {
  /// 0 if it cannot be told.
  static let current: UInt64 =
    HostMemory.firstBytes(of: "/proc/sys/kernel/random/boot_id")
    .map { PageHash.checksum(Array($0.utf8)) } ?? 0
}
