// SPDX-License-Identifier: Apache-2.0
import Glibc
import Synchronization
import SystemPackage

/// Why there is no control socket at a path, in one line.
public struct ControlSocketError: Error, Equatable, Sendable, CustomStringConvertible {
  public let reason: String

  init(_ path: String, _ reason: String) { self.reason = "control socket \(path): \(reason)" }

  public var description: String { reason }
}

/// A listening Unix socket and its file, which only its owner can use, from the first moment on.
struct SocketFile: Sendable {
  let path: String
  let descriptor: CInt
  private let identity: Identity

  /// Which file it is, whatever its path leads to by now.
  private struct Identity: Equatable, Sendable {
    var device: dev_t
    var inode: ino_t
  }

  /// Those that are there, for ``removeAll()``.
  private static let files = Mutex<[SocketFile]>([])

  private static let waitingMax: CInt = 32

  /// - Throws: if the path is taken by somebody who answers, or by something else.
  init(listeningAt path: String) throws(ControlSocketError) {
    guard path.utf8.count <= UnixSocket.pathByteCountMax else {
      throw ControlSocketError(
        path, "the path has \(path.utf8.count) bytes, at most \(UnixSocket.pathByteCountMax) fit")
    }
    // Between looking whether a socket is stale and taking its place, nobody else does the same.
    let lock = Self.lock(directoryOf: path)
    defer { if lock >= 0 { close(lock) } }
    try Self.removeStale(path)
    do throws(Errno) {
      let descriptor = try UnixSocket.make()
      do throws(Errno) {
        // Linux gives the file the mode of the socket, so there is no moment in which others could connect.
        guard fchmod(descriptor, 0o600) == 0 else { throw Errno(rawValue: errno) }
        try UnixSocket.bind(descriptor, path)
        guard listen(descriptor, Self.waitingMax) == 0 else { throw Errno(rawValue: errno) }
      } catch {
        close(descriptor)
        throw error
      }
      self.path = path
      self.descriptor = descriptor
      identity = Self.identity(path) ?? Identity(device: 0, inode: 0)
    } catch {
      throw ControlSocketError(path, error == .addressInUse ? "it exists" : "\(error)")
    }
    let made = self
    Self.files.withLock { $0.append(made) }
  }

  /// Closes it, and removes the file if it is still this one.
  func remove() {
    close(descriptor)
    removeFile()
    Self.files.withLock { files in files.removeAll { $0.descriptor == descriptor } }
  }

  /// Removes all files of this process: for an end without ceremony. The sockets stay as they are.
  static func removeAll() { files.withLock { $0 }.forEach { $0.removeFile() } }

  private func removeFile() {
    if Self.identity(path) == identity { _ = unsafe unlink(path) }
  }

  private static func identity(_ path: String) -> Identity? {
    var status = stat()
    guard unsafe lstat(path, &status) == 0 else { return nil }
    return Identity(device: status.st_dev, inode: status.st_ino)
  }

  /// Locks the directory against others who do the same here.
  /// - Returns: what has to be closed; negative if it cannot be locked: then a race is what remains.
  private static func lock(directoryOf path: String) -> CInt {
    let slash = path.lastIndex(of: "/")
    let directory = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
    let descriptor = unsafe open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { return -1 }
    for _ in 0..<50 {
      if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { break }
      usleep(10_000)
    }
    return descriptor
  }

  /// Removes a socket that nobody listens on any more: what a killed process leaves behind.
  private static func removeStale(_ path: String) throws(ControlSocketError) {
    var status = stat()
    guard unsafe lstat(path, &status) == 0 else { return }
    guard status.st_mode & S_IFMT == S_IFSOCK else {
      throw ControlSocketError(path, "there is something that is not a socket")
    }
    do throws(Errno) {
      let probe = try UnixSocket.make()
      defer { close(probe) }
      try UnixSocket.connect(probe, path)
    } catch {
      if error == .connectionRefused {
        _ = unsafe unlink(path)
        return
      }
      guard error == .resourceTemporarilyUnavailable else { throw ControlSocketError(path, "\(error)") }
    }
    throw ControlSocketError(path, "another process listens there")
  }
}
