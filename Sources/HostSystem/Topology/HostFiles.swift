// SPDX-License-Identifier: Apache-2.0
import Glibc
import SystemPackage

/// The kernel's text files (`/sys`, `/proc`), below a root that a test can put elsewhere.
public struct HostFiles: Sendable {
  /// What stands in front of every path; empty for this host.
  private let root: String

  /// - Parameter root: a directory with `sys` and `proc` in it.
  public init(root: String = "") { self.root = root.last == "/" ? String(root.dropLast()) : root }

  /// A file's text without spaces and line ends around it, at most 64 KiB; nil if it cannot be read.
  public func text(_ path: String) -> String? { HostMemory.firstBytes(of: root + path).map { String($0.trimmed) } }

  /// Replaces what a file holds; it must exist.
  /// - Throws: `Errno` of open(2) or write(2): what the kernel says to a value that it does not take.
  func write(_ text: String, to path: String) throws(Errno) {
    do {
      let file = try FileDescriptor.open(FilePath(root + path), .writeOnly, options: [.truncate, .closeOnExec])
      defer { try? file.close() }
      // In one write: the kernel takes each for a whole value.
      try file.writeAll(Array(text.utf8))
    } catch { throw (error as? Errno) ?? .ioError }
  }

  /// Whether a file is there, and this process may write it.
  func canWrite(_ path: String) -> Bool { unsafe access(root + path, W_OK) == 0 }

  /// Whether a file or directory is there.
  func exists(_ path: String) -> Bool { unsafe access(root + path, F_OK) == 0 }

  /// A file's only number.
  public func number(_ path: String) -> Int? { text(path).flatMap { Int($0) } }

  /// A file's list of numbers; nil if it is not there, or not a list.
  public func list(_ path: String) -> CPUSet? { text(path).flatMap { try? CPUSet(parsing: $0) } }

  /// The names in a directory, sorted; none if it cannot be read.
  public func names(_ path: String) -> [String] {
    guard let directory = unsafe opendir(root + path) else { return [] }
    defer { unsafe closedir(directory) }
    var names: [String] = []
    while let entry = unsafe readdir(directory) {
      let name = unsafe withUnsafePointer(to: entry.pointee.d_name) { pointer in
        unsafe pointer.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names.sorted()
  }
}
