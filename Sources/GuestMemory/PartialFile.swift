// SPDX-License-Identifier: Apache-2.0
import CHostSystem
import Glibc
import Synchronization
package import SystemPackage

/// A file that is being made: it has a name of its own, and gets the one it is meant for when it is complete.
///
/// Whoever finds a file under its real name finds it whole. The partial file is locked while it is open, so that two
/// makers of the same file cannot spoil each other's work.
package final class PartialFile: Sendable {
  package static let suffix = ".pageferry-partial"

  /// The name that the file will have.
  let path: String
  package let partialPath: String
  package let file: FileDescriptor
  private let isFinished = Mutex(false)

  /// Makes the partial file: `byteCount` bytes, all holes.
  package init(path: String, byteCount: UInt64) throws(GuestMemoryError) {
    self.path = path
    partialPath = path + Self.suffix
    file = try Self.open(partialPath, path: path, byteCount: byteCount)
  }

  deinit {
    discard()
    try? file.close()
  }

  /// The folder that `path` is in.
  static func folder(of path: String) -> String {
    let folder = FilePath(path).removingLastComponent().string
    return folder.isEmpty ? "." : folder
  }

  /// Opens and locks; what cannot be locked is somebody else's, and left alone.
  private static func open(
    _ partialPath: String, path: String, byteCount: UInt64
  ) throws(GuestMemoryError) -> FileDescriptor {
    let file: FileDescriptor
    do {
      file = try FileDescriptor.open(
        FilePath(partialPath), .readWrite, options: [.create, .closeOnExec], permissions: .init(rawValue: 0o600))
    } catch { throw .cannotOpen(path: partialPath, (error as? Errno) ?? .ioError) }
    // The name must still be that of the file that was opened: the last owner may have completed it in between.
    guard flock(file.rawValue, LOCK_EX | LOCK_NB) == 0, isNamed(partialPath, file) else {
      try? file.close()
      throw .outputBusy(path: path)
    }
    // First to nothing: a leftover of a process that was killed must not show through the holes.
    guard ftruncate(file.rawValue, 0) == 0, ftruncate(file.rawValue, off_t(clamping: byteCount)) == 0 else {
      let reason = Errno(rawValue: errno)
      _ = unsafe unlink(partialPath)
      try? file.close()
      throw .cannotReserve(byteCount: byteCount, reason: "'\(partialPath)': \(reason)")
    }
    return file
  }

  private static func isNamed(_ path: String, _ file: FileDescriptor) -> Bool {
    var (named, opened) = (stat(), stat())
    guard unsafe stat(path, &named) == 0, unsafe fstat(file.rawValue, &opened) == 0 else { return false }
    return named.st_ino == opened.st_ino && named.st_dev == opened.st_dev
  }

  /// Has the content on stable storage (fdatasync).
  func synchronize() throws(GuestMemoryError) {
    guard fdatasync(file.rawValue) == 0 else { throw failure("write to stable storage", Errno(rawValue: errno)) }
  }

  /// Gives the file its name.
  /// - Parameter replacing: take the place of a file that has it; otherwise one that came meanwhile is left alone.
  package func complete(replacing: Bool) throws(GuestMemoryError) {
    let status = unsafe replacing ? hs_rename(partialPath, path) : hs_rename_new(partialPath, path)
    if status == -EEXIST { throw .outputExists(path: path) }
    guard status == 0 else { throw failure("rename to '\(path)'", Errno(rawValue: -status)) }
    isFinished.withLock { $0 = true }
  }

  /// Removes the partial file; does nothing once it is complete.
  package func discard() {
    isFinished.withLock { done in
      if !done { _ = unsafe unlink(partialPath) }
      done = true
    }
  }

  private func failure(_ step: String, _ reason: Errno) -> GuestMemoryError {
    .cannotFinish(path: partialPath, step: step, reason)
  }
}
