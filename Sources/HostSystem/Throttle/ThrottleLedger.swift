// SPDX-License-Identifier: Apache-2.0
import Glibc
import SystemPackage

/// The records of throttles on this host, a file each: what is left of one that was killed, and of its guardian.
struct ThrottleLedger: Sendable {
  /// Nobody else may write in it: what its files say is done.
  let folder: String
  let files: HostFiles

  /// In `/run/pageferry` for root, below `XDG_RUNTIME_DIR` for others; nil where there is neither. Both are gone after a
  /// reboot.
  static var standard: ThrottleLedger? {
    if geteuid() == 0 { return ThrottleLedger(folder: "/run/pageferry", files: HostFiles()) }
    guard let home = unsafe getenv("XDG_RUNTIME_DIR") else { return nil }
    let path = unsafe String(cString: home)
    return path.first == "/" ? ThrottleLedger(folder: path + "/pageferry", files: HostFiles()) : nil
  }

  private func path(of record: ThrottleRecord) -> String {
    "\(folder)/throttle-\(record.process.pid)-\(record.process.startTime)"
  }

  /// Makes a record the only one of its process.
  /// - Returns: why that cannot be, if it is not because of another's; nil if it is done.
  /// - Throws: `alreadyThrottled`.
  func claim(_ record: ThrottleRecord) throws(ThrottleError) -> Errno? {
    if let failure = prepareFolder() { return failure }
    let (path, draft) = (path(of: record), draft(of: record))
    if let failure = write(record.text, to: draft) { return failure }
    defer { _ = unsafe unlink(draft) }
    // A link, unlike a rename, does not replace what is there.
    if unsafe link(draft, path) == 0 { return nil }
    guard errno == EEXIST else { return Errno(rawValue: errno) }
    if let other = Self.read(path), other.boot == record.boot, other.owner.exists(files) {
      throw .alreadyThrottled(pid: record.process.pid, by: other.owner.pid)
    }
    return unsafe rename(draft, path) == 0 ? nil : Errno(rawValue: errno)
  }

  /// Brings a record up to date.
  func update(_ record: ThrottleRecord) -> Errno? {
    let draft = draft(of: record)
    if let failure = write(record.text, to: draft) { return failure }
    return unsafe rename(draft, path(of: record)) == 0 ? nil : Errno(rawValue: errno)
  }

  /// Takes a record away, if it is still this owner's.
  func remove(_ record: ThrottleRecord) {
    let path = path(of: record)
    if Self.read(path)?.owner == record.owner { _ = unsafe unlink(path) }
  }

  /// Undoes what owners that have ended left behind.
  /// - Returns: a sentence for each process.
  func releaseAbandoned() -> [String] {
    guard isTrusted else { return [] }
    var told: [String] = []
    for name in HostFiles().names(folder) where name.hasPrefix("throttle-") && !name.contains(".") {
      guard let record = Self.read("\(folder)/\(name)") else { continue }
      if record.boot == ThrottleRecord.boot(files) {
        if record.owner.exists(files) { continue }
        let what = "the throttle of process \(record.process.pid), which process \(record.owner.pid) left behind"
        do throws(ThrottleError) {
          try record.undo(files)
          if record.brake != .none { told.append("\(what), is released") }
        } catch {
          told.append("\(what), could not be released: \(error)")
          continue
        }
      }
      _ = unsafe unlink("\(folder)/\(name)")
    }
    return told
  }

  private func draft(of record: ThrottleRecord) -> String { "\(path(of: record)).\(getpid())" }

  private static func read(_ path: String) -> ThrottleRecord? {
    HostMemory.firstBytes(of: path).flatMap { ThrottleRecord(text: $0) }
  }

  private func write(_ text: String, to path: String) -> Errno? {
    do {
      let file = try FileDescriptor.open(
        FilePath(path), .writeOnly, options: [.create, .truncate, .closeOnExec, .noFollow],
        permissions: [.ownerReadWrite])
      defer { try? file.close() }
      try file.writeAll(Array(text.utf8))
      return nil
    } catch { return (error as? Errno) ?? .ioError }
  }

  private func prepareFolder() -> Errno? {
    if unsafe mkdir(folder, 0o700) != 0, errno != EEXIST { return Errno(rawValue: errno) }
    return isTrusted ? nil : .permissionDenied
  }

  private var isTrusted: Bool {
    var found = stat()
    return unsafe lstat(folder, &found) == 0 && found.st_mode & S_IFMT == S_IFDIR && found.st_uid == geteuid()
      && found.st_mode & 0o022 == 0
  }
}
