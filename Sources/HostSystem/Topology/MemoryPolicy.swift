// SPDX-License-Identifier: Apache-2.0
import CHostSystem
public import SystemPackage

/// Where the kernel takes memory of this process from, and where it lies.
public enum MemoryPolicy {
  /// Why memory cannot be bound to nodes here, or nil: `ENOSYS` without NUMA in the kernel, `EPERM` where a container's
  /// filter forbids it.
  public static var refusal: Errno? {
    guard let probe = try? PageBuffer(byteCount: 4096) else { return .noMemory }
    do throws(Errno) { _ = try unsafe preferredNode(of: probe.unsafeBase) } catch { return error }
    return nil
  }

  /// The node that the memory around an address prefers, or nil for none.
  @unsafe public static func preferredNode(of address: UnsafeRawPointer) throws(Errno) -> Int? {
    var node: CInt = -1
    let result = unsafe hs_memory_preferred_node(address, &node)
    guard result == 0 else { throw Errno(rawValue: -result) }
    return node >= 0 ? Int(node) : nil
  }

  /// The node of each page, nil for one that does not exist; asks, and faults nothing in.
  /// - Parameter pages: addresses of pages of this process.
  /// - Throws: `Errno` of move_pages(2).
  public static func nodes(ofPages pages: [UInt]) throws(Errno) -> [Int?] {
    guard !pages.isEmpty else { return [] }
    var nodes = [CInt](repeating: -1, count: pages.count)
    let result = unsafe pages.withUnsafeBufferPointer { pages in
      unsafe nodes.withUnsafeMutableBufferPointer { nodes in
        unsafe pages.withMemoryRebound(to: UInt.self) { raw in
          unsafe hs_page_nodes(raw.baseAddress, raw.count, nodes.baseAddress)
        }
      }
    }
    guard result == 0 else { throw Errno(rawValue: -result) }
    return nodes.map { $0 >= 0 ? Int($0) : nil }
  }
}
