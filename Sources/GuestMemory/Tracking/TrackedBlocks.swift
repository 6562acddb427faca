// SPDX-License-Identifier: Apache-2.0
import PageModel

/// Where the blocks of a guest lie in this process: addresses for the kernel. Nothing is read or written through them,
/// so they are numbers.
struct TrackedBlocks: Sendable {
  let blocks: BlockTable
  private let addresses: [UInt]
  /// Keeps the memory mapped, where this is the one to do so.
  private let owner: AnonymousMemory?

  init(_ memory: AnonymousMemory) {
    blocks = memory.blocks
    addresses = memory.blocks.blocks.indices.map { unsafe UInt(bitPattern: memory.base(block: $0)) }
    owner = memory
  }

  /// Takes blocks that stay mapped until tracking has ended.
  @unsafe init(_ blocks: BlockTable, bases: [UnsafeRawPointer]) {
    unsafe precondition(bases.count == blocks.blocks.count, "one base per block")
    self.blocks = blocks
    addresses = unsafe bases.map { UInt(bitPattern: $0) }
    precondition(
      addresses.allSatisfy { $0.isMultiple(of: UInt(PageGeometry.pageByteCount)) }, "blocks begin at a page")
    owner = nil
  }

  /// Page-aligned memory of this process.
  struct AddressRange {
    let start: UInt
    let pageCount: Int
    var byteCount: Int { pageCount * PageGeometry.pageByteCount }
  }

  var count: Int { addresses.count }

  /// The whole of a block.
  func range(block: Int) -> AddressRange {
    AddressRange(start: addresses[block], pageCount: blocks.pageCount(block: block))
  }

  /// Spans of a block, as far as it goes.
  func range(block: Int, spans: Range<Int>) -> AddressRange {
    precondition(spans.lowerBound >= 0 && spans.upperBound <= blocks.spanCount(block: block), "spans leave their block")
    let first = spans.lowerBound * PageGeometry.pagesPerSpan
    let end = min(spans.upperBound * PageGeometry.pagesPerSpan, blocks.pageCount(block: block))
    return AddressRange(start: addresses[block] + UInt(first * PageGeometry.pageByteCount), pageCount: end - first)
  }
}
