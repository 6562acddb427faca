// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import PageKernels
import PageModel
import Synchronization
import SystemPackage

/// The guest's memory at the destination, as far as it has come: a copy from which the hypervisor's stream is made anew, or
/// its own memory, where that is shared.
///
/// Channels write pages, which are then to be told to the hypervisor; one thread takes what is to be told. A page that is
/// overwritten while it is read there is told again: the last word is right.
final class ArrivingMemory: DestinationMemory {
  let blocks: BlockTable
  private let memory: AnonymousMemory
  /// Pages that are to be told, and those of them that are zero.
  private let arrived: [SpanMap]
  private let zeros: [SpanMap]
  private let touched = Mutex<[SpanPlace]>([])
  /// Blocks that are the hypervisor's own memory: there is nothing to tell.
  let direct: Set<Int>

  typealias SpanPlace = DepartingMemory.SpanPlace

  /// - Parameter shared: the hypervisor's own memory, by block, as files.
  init(_ blocks: BlockTable, shared: [Int: FileDescriptor]) throws(GuestMemoryError) {
    self.blocks = blocks
    direct = Set(shared.keys)
    memory = try AnonymousMemory(blocks: blocks, populateAhead: false, shared: shared)
    arrived = blocks.blocks.map { SpanMap(block: $0) }
    zeros = blocks.blocks.map { SpanMap(block: $0) }
  }

  func store(_ data: RawSpan, block: Int, span: Int, pages: PageMask) throws(GuestMemoryError) {
    try memory.store(data, block: block, span: span, pages: pages)
    zeros[block].remove(pages, span: span)
    announce(block, span, pages)
  }

  func clear(block: Int, span: Int, pages: PageMask) throws(GuestMemoryError) {
    try memory.clear(block: block, span: span, pages: pages)
    zeros[block].insert(pages, span: span)
    announce(block, span, pages)
  }

  func apply(
    _ deltas: RawSpan, places: ArraySlice<Range<Int>>, block: Int, span: Int, pages: PageMask
  ) throws(GuestMemoryError) {
    try memory.apply(deltas, places: places, block: block, span: span, pages: pages)
    zeros[block].remove(pages, span: span)
    announce(block, span, pages)
  }

  func digest(block: Int, spans: Range<Int>) throws(GuestMemoryError) -> BlockDigest {
    try memory.digest(block: block, spans: spans)
  }

  var writtenByteCount: UInt64 { memory.writtenByteCount }
  func prepareToComplete() throws(GuestMemoryError) {}
  func complete() throws(GuestMemoryError) {}
  func discard() {}

  private func announce(_ block: Int, _ span: Int, _ pages: PageMask) {
    guard !direct.contains(block) else { return }
    // Pairs with the fence in take(): who sees the bits sees the pages.
    atomicMemoryFence(ordering: .releasing)
    guard arrived[block].add(pages, span: span) == 0 else { return }
    touched.withLock { $0.append(SpanPlace(block: Int32(block), span: Int32(span))) }
  }

  /// Spans of which something is to be told.
  func takeTouched() -> [SpanPlace] {
    touched.withLock { spans in
      defer { spans = [] }
      return spans
    }
  }

  /// What is to be told of a span.
  func take(_ place: SpanPlace) -> (pages: PageMask, zero: PageMask) {
    let pages = arrived[Int(place.block)].take(span: Int(place.span))
    atomicMemoryFence(ordering: .acquiring)
    return (pages, zeros[Int(place.block)].pages(span: Int(place.span)))
  }

  /// A page's bytes, which a channel may be overwriting.
  @unsafe func page(_ place: SpanPlace, _ page: Int) -> UnsafeRawBufferPointer {
    let offset = Int(place.span) * PageGeometry.spanByteCount + page * PageGeometry.pageByteCount
    precondition(offset < blocks.pageCount(block: Int(place.block)) * PageGeometry.pageByteCount, "inside the block")
    return unsafe UnsafeRawBufferPointer(
      start: memory.base(block: Int(place.block)) + offset, count: PageGeometry.pageByteCount)
  }
}
