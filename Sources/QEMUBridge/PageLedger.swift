// SPDX-License-Identifier: Apache-2.0
import HostSystem
import SystemPackage

/// A set of pages of a stream's RAM blocks. Takes a bit a page, and memory only where there are any.
@safe public final class PageLedger {
  private let blocks: [Bits]
  private let pageShift: UInt64

  @safe private final class Bits {
    private let words: PageBuffer
    let pageCount: Int
    var count = 0

    init(pageCount: Int) throws(Errno) {
      words = try PageBuffer(byteCount: max(8, (pageCount + 63) / 64 * 8))
      self.pageCount = pageCount
    }

    var wordCount: Int { (pageCount + 63) / 64 }

    @inline(__always)
    func word(_ index: Int) -> UInt64 {
      precondition(index >= 0 && index < wordCount, "the page is inside its block")
      // SAFETY: inside the mapping, by the precondition.
      return unsafe words.unsafeBase.load(fromByteOffset: index * 8, as: UInt64.self)
    }

    @inline(__always)
    func set(_ index: Int, _ word: UInt64) {
      precondition(index >= 0 && index < wordCount, "the page is inside its block")
      // SAFETY: as above.
      unsafe words.unsafeBase.storeBytes(of: word, toByteOffset: index * 8, as: UInt64.self)
    }
  }

  /// An empty set.
  public init(blocks: [StreamBlock], pageByteCount: Int) throws(RAMImageError) {
    precondition(pageByteCount.nonzeroBitCount == 1, "a page's size is a power of two")
    pageShift = UInt64(pageByteCount.trailingZeroBitCount)
    var made: [Bits] = []
    for block in blocks {
      do throws(Errno) { made.append(try Bits(pageCount: Int(block.byteCount >> pageShift))) } catch {
        throw .cannotMap(byteCount: block.byteCount >> (pageShift + 3), error)
      }
    }
    self.blocks = made
  }

  /// Pages of a block in the set.
  public func count(ofBlock block: Int) -> Int { blocks[block].count }

  /// Pages that a block has.
  public func pageCount(ofBlock block: Int) -> Int { blocks[block].pageCount }

  /// Whether the page at `offset` is in the set.
  public func contains(block: Int, offset: UInt64) -> Bool {
    let page = Int(offset >> pageShift)
    return blocks[block].word(page >> 6) & 1 << UInt64(page & 63) != 0
  }

  /// Adds the page at `offset`, which is inside its block.
  /// - Returns: whether it was not in the set.
  @discardableResult public func insert(block: Int, offset: UInt64) -> Bool {
    let bits = blocks[block]
    let page = Int(offset >> pageShift)
    precondition(page < bits.pageCount, "the page is inside its block")
    let word = bits.word(page >> 6)
    let bit: UInt64 = 1 << UInt64(page & 63)
    guard word & bit == 0 else { return false }
    bits.set(page >> 6, word | bit)
    bits.count += 1
    return true
  }

  /// Calls `body` with the numbers of a block's pages in the set, ascending.
  func forEach<Failure: Error>(ofBlock block: Int, _ body: (UInt64) throws(Failure) -> Void) throws(Failure) {
    let bits = blocks[block]
    guard bits.count > 0 else { return }
    for index in 0..<bits.wordCount {
      var rest = bits.word(index)
      while rest != 0 {
        try body(UInt64(index * 64 + rest.trailingZeroBitCount))
        rest &= rest &- 1
      }
    }
  }
}
