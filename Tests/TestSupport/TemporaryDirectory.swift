// SPDX-License-Identifier: Apache-2.0
import Glibc
import SystemPackage

/// A directory that lives as long as this object, with everything in it.
public final class TemporaryDirectory: Sendable {
  public let path: String

  public init() {
    var template = Array("/tmp/pageferry-test-XXXXXX".utf8CString)
    guard unsafe mkdtemp(&template) != nil else { fatalError("cannot make a directory in /tmp: \(errno)") }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  deinit { Self.remove(path) }

  /// The path of `name` in the directory.
  public func file(_ name: String) -> String { path + "/" + name }

  /// Writes a file and returns its path.
  @discardableResult public func write(_ bytes: [UInt8], to name: String) throws -> String {
    let file = try FileDescriptor.open(
      FilePath(file(name)), .writeOnly, options: [.create, .truncate], permissions: .init(rawValue: 0o600))
    defer { try? file.close() }
    try file.writeAll(bytes)
    return self.file(name)
  }

  /// Reads a whole file.
  public static func read(_ path: String) throws -> [UInt8] {
    let file = try FileDescriptor.open(FilePath(path), .readOnly)
    defer { try? file.close() }
    var content: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 20)
    while true {
      let count = unsafe try chunk.withUnsafeMutableBytes { unsafe try file.read(into: $0) }
      if count == 0 { return content }
      content += chunk.prefix(count)
    }
  }

  public static func exists(_ path: String) -> Bool { unsafe access(path, F_OK) == 0 }

  /// Removes a directory with everything in it.
  private static func remove(_ path: String) {
    guard let directory = unsafe opendir(path) else { return }
    while let entry = unsafe readdir(directory) {
      let name = unsafe withUnsafePointer(to: entry.pointee.d_name) { pointer in
        unsafe pointer.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
      }
      if name != ".", name != "..", unsafe unlink(path + "/" + name) != 0 { remove(path + "/" + name) }
    }
    unsafe closedir(directory)
    _ = unsafe rmdir(path)
  }
}
