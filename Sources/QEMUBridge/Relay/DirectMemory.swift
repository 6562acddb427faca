// SPDX-License-Identifier: Apache-2.0
import CHostSystem
import Glibc
import HostSystem
import SystemPackage
import Transport

/// Finds the memory of a hypervisor on this host, where that is shared.
public enum DirectMemory: Sendable, Equatable {
  case off
  /// Of the process at the other end of the socket, if that is a memory backend of its own (`memory-backend-memfd` with
  /// `share=on`), the only one of the largest block's size. What else a process shares (files, another guest's memory) is
  /// not taken for its guest's.
  case automatic
  /// A file that is the memory of the largest block.
  case file(path: String)

  /// Opens it.
  /// - Parameter blocks: as the stream declares them.
  /// - Returns: the files by block, or why there is none, in words.
  func open(_ hypervisor: Connection, _ blocks: [StreamBlock]) -> Result<[Int: FileDescriptor], Absence> {
    guard let largest = blocks.indices.max(by: { blocks[$0].byteCount < blocks[$1].byteCount }) else {
      return .failure("the stream has no RAM blocks")
    }
    let size = blocks[largest].byteCount
    guard blocks.count(where: { $0.byteCount == size }) == 1 else {
      return .failure("several RAM blocks have the largest one's size")
    }
    switch self {
    case .off: return .failure("it was turned off")
    case .file(let path): return Self.openFile(path, size: size).map { [largest: $0] }
    case .automatic:
      guard let pid = hypervisor.peerProcess else { return .failure("the hypervisor's process is not known") }
      return Self.find(pid, size: size).flatMap { Self.openFile($0, size: size) }.map { [largest: $0] }
    }
  }

  /// Why pages do not go straight into the hypervisor's memory.
  struct Absence: Error, ExpressibleByStringInterpolation, CustomStringConvertible {
    let description: String
    init(stringLiteral text: String) { description = text }
  }

  private static func openFile(_ path: String, size: UInt64) -> Result<FileDescriptor, Absence> {
    let file: FileDescriptor
    do { file = try FileDescriptor.open(FilePath(path), .readWrite, options: .closeOnExec) } catch {
      return .failure("'\(path)' cannot be opened: \(error)")
    }
    var status = stat()
    guard unsafe fstat(file.rawValue, &status) == 0, UInt64(max(0, status.st_size)) == size else {
      try? file.close()
      return .failure("'\(path)' has not the \(size) bytes of the guest's largest RAM block")
    }
    return .success(file)
  }

  /// The path of a process's one shared mapping of that size.
  private static func find(_ pid: Int32, size: UInt64) -> Result<String, Absence> {
    guard let maps = HostMemory.firstBytes(of: "/proc/\(pid)/maps", limit: 4 << 20) else {
      return .failure("process \(pid)'s memory map cannot be read")
    }
    var found: [String] = []
    for line in maps.split(separator: "\n") {
      // start-end perms offset device inode path
      let fields = line.split(separator: " ", maxSplits: 5, omittingEmptySubsequences: true)
      guard fields.count >= 5, fields[1].hasPrefix("rw"), fields[1].hasSuffix("s"), fields[2].allSatisfy({ $0 == "0" })
      else { continue }
      guard fields.count == 6, fields[5].drop(while: { $0 == " " }).hasPrefix("/memfd:memory-backend-memfd") else {
        continue
      }
      let ends = fields[0].split(separator: "-").compactMap { UInt64($0, radix: 16) }
      guard ends.count == 2, ends[1] - min(ends[0], ends[1]) == size else { continue }
      found.append("/proc/\(pid)/map_files/\(fields[0])")
    }
    guard let path = found.first else {
      return .failure("process \(pid) has no memory-backend-memfd of the guest's size with share=on")
    }
    guard found.count == 1 else { return .failure("process \(pid) has several shared mappings of the guest's size") }
    return .success(path)
  }
}
