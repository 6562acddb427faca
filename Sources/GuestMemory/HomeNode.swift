// SPDX-License-Identifier: Apache-2.0
import HostSystem
import PageModel

/// Finds the NUMA node that a range of this process's memory lies on, from a sample of its pages.
enum HomeNode {
  /// Pages that are looked at.
  static let sampleCount = 64

  /// The node that has nine in ten of the sampled pages that exist; nil if none has, or the kernel does not say.
  static func find(address: UInt, pageCount: Int) -> Int? {
    let count = min(sampleCount, pageCount)
    let pages = (0..<count).map { sample in
      address + UInt(pageCount * sample / count) * UInt(PageGeometry.pageByteCount)
    }
    guard let found = try? MemoryPolicy.nodes(ofPages: pages) else { return nil }
    return majority(found)
  }

  /// - Parameter nodes: of each page; nil for one that does not exist.
  static func majority(_ nodes: [Int?]) -> Int? {
    let present = nodes.compactMap { $0 }
    let counts = Dictionary(present.map { ($0, 1) }, uniquingKeysWith: +)
    // The kernel moves single pages about (automatic balancing); that is not a block on several nodes.
    return counts.first { $0.value * 10 >= present.count * 9 }?.key
  }
}

extension ProcessMemorySource {
  /// The NUMA node that a block lies on; nil if it was not touched, is spread over nodes, or the kernel does not say.
  /// Asks about 64 of its pages: some ten microseconds.
  public func homeNode(block: Int) -> Int? {
    let address = withBytes(block: block, span: 0) { bytes in
      unsafe bytes.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) }
    }
    return HomeNode.find(address: address, pageCount: blocks.pageCount(block: block))
  }
}

extension AnonymousMemory {
  public func homeNode(block: Int) -> Int? {
    HomeNode.find(address: UInt(bitPattern: unsafe base(block: block)), pageCount: blocks.pageCount(block: block))
  }
}
