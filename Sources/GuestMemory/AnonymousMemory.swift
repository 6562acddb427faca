// SPDX-License-Identifier: Apache-2.0
public import HostSystem
public import PageKernels
public import PageModel
public import SystemPackage

/// Guest memory in this process: what a VMM would run its guest on.
///
/// First-touch faults are a receiver's largest cost (about 2 µs for a 4 KiB page, 0.4 µs a page with huge pages), so
/// the range is advised huge, and a background thread can populate it ahead of the pages that arrive.
public final class AnonymousMemory: MappedDestination {
  public let blocks: BlockTable
  /// What the blocks are made of.
  public let backing: Backing
  private let ranges: [MappedRange]
  private let written: WrittenPages
  private let populator: Populator?

  /// What blocks are made of.
  public enum Backing: Sendable, Equatable {
    /// Private anonymous memory, with transparent huge pages if asked for and the kernel has them.
    case anonymous(hugePages: Bool)
    /// A shared mapping of a memfd each, which another process could map as well.
    case memfd
  }

  /// Maps every block.
  /// - Parameters:
  ///   - populateAhead: fault all memory in, in the background. Costs a thread until it is done, and makes
  ///     memory resident that the guest may never use.
  ///   - placement: of that thread.
  ///   - shared: blocks that lie in another process as well, by number: the files behind them, of the blocks' sizes. What
  ///     they hold already is known not to be zeros.
  /// - Throws: ``GuestMemoryError/cannotReserve(byteCount:reason:)``.
  public init(
    blocks: BlockTable, populateAhead: Bool, backing: Backing = .anonymous(hugePages: true),
    placement: ThreadPlacement = .anywhere, shared: [Int: FileDescriptor] = [:]
  ) throws(GuestMemoryError) {
    var ranges: [MappedRange] = []
    for (number, block) in blocks.blocks.enumerated() {
      let byteCount = Int(block.byteCount)
      let mapped =
        if let file = shared[number] {
          MappedRange(file, byteCount: byteCount)
        } else {
          backing == .memfd ? MappedRange(sharing: byteCount) : MappedRange(byteCount: byteCount)
        }
      guard let range = mapped else {
        for range in ranges { range.unmap() }
        throw .cannotReserve(byteCount: blocks.byteCount, reason: "mmap: \(Errno.noMemory)")
      }
      if backing == .anonymous(hugePages: true), shared[number] == nil { range.adviseHugePages() }
      ranges.append(range)
    }
    self.blocks = blocks
    self.backing = backing
    self.ranges = ranges
    written = WrittenPages(blocks)
    for (number, file) in shared {
      let map = written.maps[number]
      FileBytes.presentPages(file, from: 0, of: blocks.blocks[number]).forEachRun { map.insert(pages: $0) }
    }
    populator = populateAhead ? Populator(ranges, placement: placement) : nil
  }

  deinit {
    populator?.stop()
    for range in ranges { range.unmap() }
  }

  public func store(_ data: RawSpan, block: Int, span: Int, pages: PageMask) throws(GuestMemoryError) {
    precondition(data.byteCount == pages.nonzeroBitCount * PageGeometry.pageByteCount, "one page of data per page")
    precondition(pages & ~blocks.pages(block: block, span: span) == 0, "pages outside their block")
    written.maps[block].insert(pages, span: span)
    var offset = 0
    unsafe data.withUnsafeBytes { bytes in
      guard let source = bytes.baseAddress else { return }
      pages.forEachRun { run in
        let byteCount = run.count * PageGeometry.pageByteCount
        // SAFETY: the run lies in its block, and the source has one page per bit: both checked above.
        unsafe address(block, span, run.lowerBound).copyMemory(from: source + offset, byteCount: byteCount)
        offset += byteCount
      }
    }
  }

  @unsafe public func withRuns(
    block: Int, span: Int, pages: PageMask, _ body: (UnsafeMutableRawBufferPointer) -> Void
  ) {
    precondition(pages & ~blocks.pages(block: block, span: span) == 0, "pages outside their block")
    written.maps[block].insert(pages, span: span)
    pages.forEachRun { run in
      let byteCount = run.count * PageGeometry.pageByteCount
      unsafe body(UnsafeMutableRawBufferPointer(start: address(block, span, run.lowerBound), count: byteCount))
    }
  }

  public func clear(block: Int, span: Int, pages: PageMask) throws(GuestMemoryError) {
    precondition(pages & ~blocks.pages(block: block, span: span) == 0, "pages outside their block")
    (pages & written.maps[block].pages(span: span)).forEachRun { run in
      // SAFETY: the run lies in its block.
      _ = unsafe address(block, span, run.lowerBound).initializeMemory(
        as: UInt8.self, repeating: 0, count: run.count * PageGeometry.pageByteCount)
    }
  }

  public func apply(
    _ deltas: RawSpan, places: ArraySlice<Range<Int>>, block: Int, span: Int, pages: PageMask
  ) throws(GuestMemoryError) {
    precondition(places.count == pages.nonzeroBitCount, "one delta per page")
    precondition(pages & ~blocks.pages(block: block, span: span) == 0, "pages outside their block")
    written.maps[block].insert(pages, span: span)
    var rest = pages
    for place in places {
      // SAFETY: the page lies in its block, checked above; nobody else writes it before the guest runs.
      var page = unsafe MutableRawSpan(
        _unsafeStart: address(block, span, rest.trailingZeroBitCount), byteCount: PageGeometry.pageByteCount)
      do throws(Delta.Fault) { try Delta.apply(deltas.extracting(place), to: &page) } catch { throw .badDelta(error) }
      rest &= rest &- 1
    }
  }

  public func digest(block: Int, spans: Range<Int>) throws(GuestMemoryError) -> BlockDigest {
    var sum = BlockDigest()
    for span in spans { sum.add(digest(block: block, span: span, pages: written.maps[block].pages(span: span))) }
    return sum
  }

  public func digest(block: Int, span: Int, pages: PageMask) -> BlockDigest {
    precondition(pages & ~blocks.pages(block: block, span: span) == 0, "pages outside their block")
    var digest = BlockDigest()
    pages.forEachRun { run in
      // SAFETY: the run lies in its block.
      let data = unsafe RawSpan(
        _unsafeStart: address(block, span, run.lowerBound), byteCount: run.count * PageGeometry.pageByteCount)
      digest.add(data, span: span, pages: .lowest(run.count) << PageMask(run.lowerBound))
    }
    return digest
  }

  /// Where a block begins in this process: for who runs the guest. Mapped as long as this object lives.
  @unsafe public func base(block: Int) -> UnsafeMutableRawPointer { unsafe ranges[block].base }

  private func address(_ block: Int, _ span: Int, _ page: Int) -> UnsafeMutableRawPointer {
    unsafe ranges[block].base + span * PageGeometry.spanByteCount + page * PageGeometry.pageByteCount
  }

  public var writtenByteCount: UInt64 { written.byteCount }

  public func prepareToComplete() throws(GuestMemoryError) { populator?.stop() }

  public func complete() throws(GuestMemoryError) {}

  public func discard() { populator?.stop() }
}
