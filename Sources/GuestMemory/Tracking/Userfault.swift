// SPDX-License-Identifier: Apache-2.0
import CHostSystem
import Glibc
import SystemPackage

/// A userfaultfd that write-protects memory of this process, while it is open.
///
/// Its descriptor's number is taken as long as the object lives, and stands for `/dev/null` while there is no
/// userfaultfd: whoever still uses it after ``release()`` gets an error, and never somebody else's file. So it needs no
/// lock.
final class Userfault: Sendable {
  let descriptor: CInt
  private let nothing: CInt

  init() throws(Errno) {
    let nothing = unsafe Glibc.open("/dev/null", O_RDWR | O_CLOEXEC)
    guard nothing >= 0 else { throw Errno(rawValue: errno) }
    let descriptor = fcntl(nothing, F_DUPFD_CLOEXEC, 0)
    guard descriptor >= 0 else {
      let reason = Errno(rawValue: errno)
      close(nothing)
      throw reason
    }
    self.nothing = nothing
    self.descriptor = descriptor
  }

  deinit {
    close(descriptor)
    close(nothing)
  }

  /// Opens a userfaultfd.
  /// - Parameter access: `HS_UFFD_CALL` and its like.
  func open(access: CInt, features: UInt64) throws(Errno) {
    var offered: UInt64 = 0
    let fresh = unsafe hs_uffd_open(access, features, &offered)
    try check(fresh)
    defer { close(fresh) }
    try check(hs_replace_descriptor(fresh, descriptor))
  }

  /// Closes the userfaultfd: nothing is protected any more, and whoever waits for a fault goes on.
  func release() {
    let status = hs_replace_descriptor(nothing, descriptor)
    precondition(status == 0, "dup3 failed: \(status)")
  }

  func register(_ range: TrackedBlocks.AddressRange) throws(Errno) {
    try check(hs_uffd_register(descriptor, range.start, range.byteCount))
  }

  /// Write-protects a range. Waits while memory is being discarded, which takes microseconds.
  func protect(_ range: TrackedBlocks.AddressRange) throws(Errno) {
    while true {
      let status = hs_uffd_write_protect(descriptor, range.start, range.byteCount, HS_UFFD_PROTECT)
      if status != -EAGAIN { return try check(status) }
      _ = sched_yield()
    }
  }

  /// Gives every page of a range an entry in the page table, so that it can be protected.
  func populate(_ range: TrackedBlocks.AddressRange) throws(Errno) {
    try check(hs_populate_read(range.start, range.byteCount))
  }

  private func check(_ status: CInt) throws(Errno) {
    guard status >= 0 else { throw Errno(rawValue: -status) }
  }
}
