// SPDX-License-Identifier: Apache-2.0

/// A dirty log that can be told of writes which it cannot see.
///
/// A log sees what goes through what it watches: this process's mapping, or KVM's. It does not see what a device
/// back-end writes through a mapping of its own, a `pwrite` to a memfd, or, all of them, memory being discarded
/// (`MADV_DONTNEED`, `MADV_REMOVE`, a hole punched by a balloon). Who does such a thing says so.
public protocol MarkableDirtyLog: DirtyLog {
  /// Counts pages as written. Called after they were, before the writer tells the guest.
  func markDirty(block: Int, pages: Range<Int>)
}
