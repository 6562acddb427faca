// SPDX-License-Identifier: Apache-2.0

/// The RAM blocks of one guest, checked once so that all later arithmetic on them cannot overflow or overlap.
public struct BlockTable: Sendable, Equatable {
  /// Blocks in the order given; a block's index here is its number on the wire.
  public let blocks: [RAMBlock]
  /// Bytes of all blocks together.
  public let byteCount: UInt64
  /// Pages of each block, apart from its name: looking one up retains nothing.
  @usableFromInline let pageCounts: [Int]

  /// Most blocks that a guest may have.
  public static let blockCountMax = 1024
  /// Longest name of a block, in bytes of UTF-8.
  public static let nameByteCountMax = 255
  /// Most memory that a guest may have: 64 TiB.
  public static let totalByteCountMax: UInt64 = 1 << 46

  /// Pages of a block. For the data plane: unlike `blocks[block].pageCount`, it costs no reference counting.
  @inlinable public func pageCount(block: Int) -> Int { pageCounts[block] }

  /// Spans of a block, the last of which may be partial.
  @inlinable public func spanCount(block: Int) -> Int {
    (pageCounts[block] + PageGeometry.pagesPerSpan - 1) / PageGeometry.pagesPerSpan
  }

  /// The pages that a span has: all 64, or fewer in its block's last span.
  @inlinable public func pages(block: Int, span: Int) -> PageMask {
    .lowest(pageCounts[block] - span * PageGeometry.pagesPerSpan)
  }

  /// Pages of all blocks together.
  public var pageCount: Int { Int(byteCount) / PageGeometry.pageByteCount }

  /// Checks `blocks` and takes them.
  /// - Throws: ``BlockTableError`` naming the first block that is wrong.
  public init(_ blocks: [RAMBlock]) throws(BlockTableError) {
    guard !blocks.isEmpty else { throw .noBlocks }
    guard blocks.count <= Self.blockCountMax else {
      throw .tooManyBlocks(found: blocks.count, allowed: Self.blockCountMax)
    }
    var total: UInt64 = 0
    var names = Set<String>()
    for block in blocks {
      try Self.check(block)
      guard names.insert(block.name).inserted else { throw .duplicateName(block.name) }
      // Cannot overflow: both are at most 2^46.
      total += block.byteCount
      guard total <= Self.totalByteCountMax else { throw .tooLarge(found: total, allowed: Self.totalByteCountMax) }
    }
    let ascending = blocks.sorted { $0.guestPhysicalBase < $1.guestPhysicalBase }
    for (lower, upper) in zip(ascending, ascending.dropFirst())
    where lower.guestPhysicalBase + lower.byteCount > upper.guestPhysicalBase {
      throw .overlap(lower.name, upper.name)
    }
    self.blocks = blocks
    byteCount = total
    pageCounts = blocks.map { $0.pageCount }
  }

  /// How `other` differs from these blocks in what a guest can see (names, sizes, addresses; not the host's page
  /// size), in one sentence, or nil if it does not.
  public func difference(from other: BlockTable) -> String? {
    guard blocks.count == other.blocks.count else {
      return "\(blocks.count) expected, the source has \(other.blocks.count)"
    }
    for (expected, found) in zip(blocks, other.blocks) {
      guard expected.name == found.name else { return "'\(expected.name)' expected, the source has '\(found.name)'" }
      guard expected.byteCount == found.byteCount else {
        return "'\(expected.name)' should have \(expected.byteCount) bytes, the source's has \(found.byteCount)"
      }
      guard expected.guestPhysicalBase == found.guestPhysicalBase else {
        return "'\(expected.name)' should begin at 0x\(String(expected.guestPhysicalBase, radix: 16)), "
          + "the source's does at 0x\(String(found.guestPhysicalBase, radix: 16))"
      }
    }
    return nil
  }

  private static func check(_ block: RAMBlock) throws(BlockTableError) {
    let page = UInt64(PageGeometry.pageByteCount)
    guard (1...nameByteCountMax).contains(block.name.utf8.count) else {
      throw .badName(byteCount: block.name.utf8.count, allowed: nameByteCountMax)
    }
    guard block.byteCount > 0, block.byteCount.isMultiple(of: page) else {
      throw .notPageMultiple(block: block.name, field: "size", found: block.byteCount)
    }
    guard block.guestPhysicalBase.isMultiple(of: page) else {
      throw .notPageMultiple(block: block.name, field: "guest-physical base", found: block.guestPhysicalBase)
    }
    guard block.byteCount <= totalByteCountMax else {
      throw .tooLarge(found: block.byteCount, allowed: totalByteCountMax)
    }
    guard !block.guestPhysicalBase.addingReportingOverflow(block.byteCount).overflow else {
      throw .addressOverflow(block.name)
    }
    guard [4096, 2 << 20, 1 << 30].contains(block.hostPageByteCount) else {
      throw .badHostPage(block: block.name, found: block.hostPageByteCount)
    }
  }
}

/// Why a table of RAM blocks was refused.
public enum BlockTableError: Error, Equatable, CustomStringConvertible {
  case noBlocks
  case tooManyBlocks(found: Int, allowed: Int)
  case badName(byteCount: Int, allowed: Int)
  case duplicateName(String)
  case notPageMultiple(block: String, field: String, found: UInt64)
  case tooLarge(found: UInt64, allowed: UInt64)
  case addressOverflow(String)
  case overlap(String, String)
  case badHostPage(block: String, found: UInt32)

  public var description: String {
    switch self {
    case .noBlocks: "there is no RAM block"
    case .tooManyBlocks(let found, let allowed): "\(found) RAM blocks, at most \(allowed) are supported"
    case .badName(let count, let allowed): "a RAM block's name has \(count) bytes, 1 to \(allowed) are allowed"
    case .duplicateName(let name): "two RAM blocks are named '\(name)'"
    case .notPageMultiple(let block, let field, let found):
      "RAM block '\(block)': \(field) \(found) is not a positive multiple of \(PageGeometry.pageByteCount)"
    case .tooLarge(let found, let allowed): "\(found) bytes of guest memory, at most \(allowed) are supported"
    case .addressOverflow(let name): "RAM block '\(name)' runs past the end of the 64-bit address space"
    case .overlap(let lower, let upper): "RAM blocks '\(lower)' and '\(upper)' overlap in guest-physical addresses"
    case .badHostPage(let block, let found):
      "RAM block '\(block)': host page size \(found) is none of 4096, 2097152, 1073741824"
    }
  }
}
