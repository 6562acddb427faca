// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import PageModel

/// Where every page of a guest is, by its number over all blocks. Keeps the memory.
@safe final class GuestPages: @unchecked Sendable {
  let memory: AnonymousMemory
  let pageCount: Int
  private let segments: UnsafeMutablePointer<PageAddresses.Segment>

  init(_ memory: AnonymousMemory) {
    self.memory = memory
    pageCount = memory.blocks.pageCount
    let blockCount = memory.blocks.blocks.count
    unsafe segments = .allocate(capacity: blockCount)
    var first = 0
    for block in 0..<blockCount {
      // SAFETY: one segment for each block, and the block stays mapped as long as `memory` lives.
      unsafe (segments + block).initialize(to: .init(firstPage: first, base: memory.base(block: block)))
      first += memory.blocks.pageCount(block: block)
    }
  }

  deinit { unsafe segments.deallocate() }

  /// For as long as this object lives.
  @unsafe var addresses: PageAddresses {
    unsafe PageAddresses(segments: UnsafePointer(segments), last: memory.blocks.blocks.count - 1)
  }
}

/// Page number to address: raw pointers, so that a write costs no reference counting.
@unsafe struct PageAddresses {
  @unsafe struct Segment {
    let firstPage: Int
    @unsafe let base: UnsafeMutableRawPointer
  }

  fileprivate let segments: UnsafePointer<Segment>
  fileprivate let last: Int

  /// Where a page begins. `page` is one of the guest's.
  @inline(__always) subscript(page: Int) -> UnsafeMutableRawPointer {
    var index = unsafe last
    // A guest has one to a handful of blocks.
    while unsafe index > 0 && segments[index].firstPage > page { index -= 1 }
    return unsafe segments[index].base + (page - segments[index].firstPage) * PageGeometry.pageByteCount
  }
}
