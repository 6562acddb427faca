// SPDX-License-Identifier: Apache-2.0
public import PageKernels
public import PageModel

/// RAM blocks that are mapped into this process: what a VMM has, read with the snapshot kernel.
@safe public final class ProcessMemorySource: SourceMemory, @unchecked Sendable {
  public let blocks: BlockTable
  private let bases: [UnsafeRawPointer]
  private let owner: AnyObject?

  /// Takes blocks that stay mapped as long as this object lives.
  /// - Parameters:
  ///   - bases: where each block begins in this process, page-aligned, one per block.
  ///   - owner: what keeps them mapped, and is kept.
  @unsafe public init(blocks: BlockTable, bases: [UnsafeRawPointer], owner: AnyObject? = nil) {
    unsafe precondition(bases.count == blocks.blocks.count, "one base per block")
    self.blocks = blocks
    unsafe self.bases = bases
    self.owner = owner
  }

  public var mapping: ProcessMemorySource? { self }

  /// Calls `body` with a span's bytes, all of them; the guest may write to them meanwhile.
  public func withBytes<Result, Failure: Error>(
    block: Int, span: Int, _ body: (RawSpan) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let offset = span * PageGeometry.spanByteCount
    let byteCount = min(
      PageGeometry.spanByteCount, blocks.pageCount(block: block) * PageGeometry.pageByteCount - offset)
    // SAFETY: the span lies inside its block, and init's caller promised the block's mapping.
    return try body(unsafe RawSpan(_unsafeStart: bases[block] + offset, byteCount: byteCount))
  }

  public func snapshot(
    block: Int, span: Int, wanted: PageMask, into staging: inout MutableRawSpan
  ) throws(GuestMemoryError) -> Snapshot.Result {
    precondition(wanted & ~blocks.pages(block: block, span: span) == 0, "a wanted page lies outside its block")
    return withBytes(block: block, span: span) { Snapshot.take(span: $0, wanted: wanted, into: &staging) }
  }

  /// The digest of every block, as it is now: nobody may write it meanwhile. Reads all memory.
  public func digests() -> [BlockDigest] {
    blocks.blocks.indices.map { block in
      var digest = BlockDigest()
      for span in 0..<blocks.spanCount(block: block) {
        let pages = blocks.pages(block: block, span: span)
        withBytes(block: block, span: span) { digest.add($0, span: span, pages: pages) }
      }
      return digest
    }
  }

  public func presentPages(block: Int) throws(GuestMemoryError) -> SpanMap {
    let map = SpanMap(block: blocks.blocks[block])
    map.insert(pages: 0..<blocks.blocks[block].pageCount)
    return map
  }

  public func checkUnchanged() throws(GuestMemoryError) {}
}
