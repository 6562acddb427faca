// SPDX-License-Identifier: Apache-2.0
public import PageKernels
public import PageModel

/// Guest memory that channels write into. A new kind of destination is one file that conforms to this.
///
/// Starts out as zeros. Called from many channels at once, each for its own spans; once per record, never per page.
/// Block, span and pages were checked against `blocks` before.
public protocol DestinationMemory: AnyObject, Sendable {
  /// The guest's RAM blocks.
  var blocks: BlockTable { get }

  /// Writes pages of a span.
  /// - Parameter data: the pages of `pages`, packed in ascending order.
  func store(_ data: RawSpan, block: Int, span: Int, pages: PageMask) throws(GuestMemoryError)

  /// Makes pages of a span zero. Pages that were never written are not touched.
  func clear(block: Int, span: Int, pages: PageMask) throws(GuestMemoryError)

  /// Applies deltas to pages of a span, which hold what the source sent for them last.
  /// - Parameters:
  ///   - deltas: the deltas of `pages` and others.
  ///   - places: where in `deltas` those of `pages` are, in ascending order of pages. Each has passed ``Delta/check(_:)``.
  func apply(
    _ deltas: RawSpan, places: ArraySlice<Range<Int>>, block: Int, span: Int, pages: PageMask
  ) throws(GuestMemoryError)

  /// The digest of `spans` of a block, read back from where the guest will find them.
  func digest(block: Int, spans: Range<Int>) throws(GuestMemoryError) -> BlockDigest

  /// Bytes of memory or disk that pages have been written to.
  var writtenByteCount: UInt64 { get }

  /// Does all of the completion that can fail or take time: called once, before the source is told that it may commit.
  func prepareToComplete() throws(GuestMemoryError)

  /// Makes the memory the guest's: called once, at commit. After it, ``discard()`` does nothing.
  func complete() throws(GuestMemoryError)

  /// Drops everything: called when a migration does not complete.
  func discard()

  /// The NUMA node that a block lies on; nil if it is not known, not there yet, or on several.
  func homeNode(block: Int) -> Int?
}

extension DestinationMemory {
  public func homeNode(block: Int) -> Int? { nil }
}

/// Guest memory that is mapped in this process: channels receive raw pages straight into it.
public protocol MappedDestination: DestinationMemory {
  /// Calls `body` with where the pages of a span lie, one run after the other, and takes note that they are written.
  /// What it is given stays mapped as long as this object lives, and is the calling channel's alone until the guest
  /// runs.
  @unsafe func withRuns(block: Int, span: Int, pages: PageMask, _ body: (UnsafeMutableRawBufferPointer) -> Void)

  /// The digest of pages of a span, as they are now.
  func digest(block: Int, span: Int, pages: PageMask) -> BlockDigest
}

/// Which pages of each block have been written: the others are known to be zero.
final class WrittenPages: Sendable {
  let maps: [SpanMap]

  init(_ blocks: BlockTable) { maps = blocks.blocks.map { SpanMap(block: $0) } }

  var byteCount: UInt64 { UInt64(maps.reduce(0) { $0 + $1.count() } * PageGeometry.pageByteCount) }
}

extension BlockDigest {
  /// Adds the pages of a span that are not zero.
  /// - Parameters:
  ///   - data: the pages of `pages`, packed in ascending order.
  mutating func add(_ data: RawSpan, span: Int, pages: PageMask) {
    var offset = 0
    var rest = pages
    while rest != 0 {
      let page = data.extracting(offset..<offset + PageGeometry.pageByteCount)
      if !ZeroScan.isZero(page: page) {
        add(page: page, number: UInt64(span * PageGeometry.pagesPerSpan + rest.trailingZeroBitCount))
      }
      offset += PageGeometry.pageByteCount
      rest &= rest &- 1
    }
  }
}
