// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import HostSystem
import PageKernels
import PageModel
import Synchronization

/// Reads the pages of a span from guest memory, classifies them, and puts what has to travel into the frame.
///
/// The page path of the engine: each page is read from guest memory once, and everything after works on that copy.
protocol SpanReader: AnyObject {
  /// A new iteration begins.
  func begin(_ iteration: Iteration)

  /// Puts the pages of `wanted` into the frame, which has room for a whole span.
  /// - Parameter isHot: whether the guest writes to this span.
  func read(
    block: Int, span: Int, wanted: PageMask, isHot: Bool, into frame: FrameAssembler
  ) throws(LaneError)
}

/// Reads memory that does not change: every page is read once, zero or data.
///
/// Where the memory is mapped and a frame travels as it is, data pages are not copied: the frame refers to them.
final class StillReader: SpanReader {
  private let memory: any SourceMemory
  private let mapping: ProcessMemorySource?
  private let counters: LaneCounters
  /// What the lane has read, per block, if digests are wanted.
  private var digests: [BlockDigest]
  private let wantsDigests: Bool

  init(memory: any SourceMemory, counters: LaneCounters, wantsDigests: Bool) {
    self.memory = memory
    mapping = memory.mapping
    self.counters = counters
    self.wantsDigests = wantsDigests
    digests = Array(repeating: BlockDigest(), count: memory.blocks.blocks.count)
  }

  func begin(_ iteration: Iteration) {}

  func read(
    block: Int, span: Int, wanted: PageMask, isHot: Bool, into frame: FrameAssembler
  ) throws(LaneError) {
    let started = HostClock.now()
    if let mapping, frame.takesReferences {
      let zero = refer(mapping, block: block, span: span, wanted: wanted, into: frame)
      counters.snapshotNanoseconds.add(HostClock.now() - started, ordering: .relaxed)
      counters.zeroPages.add(UInt64(zero.nonzeroBitCount), ordering: .relaxed)
      frame.note(block: block, span: span, zero: zero, data: wanted & ~zero, delta: 0)
      return
    }
    let result: Snapshot.Result
    do throws(GuestMemoryError) {
      result = try frame.withRoom(pages: wanted.nonzeroBitCount) { (room) throws(GuestMemoryError) in
        let result = try memory.snapshot(block: block, span: span, wanted: wanted, into: &room)
        let data = wanted & ~result.zeroMask
        if wantsDigests, data != 0 { digest(room.bytes, block: block, span: span, pages: data) }
        return result
      }
    } catch { throw .memory(error) }
    counters.snapshotNanoseconds.add(HostClock.now() - started, ordering: .relaxed)
    counters.zeroPages.add(UInt64(result.zeroMask.nonzeroBitCount), ordering: .relaxed)
    frame.note(block: block, span: span, zero: result.zeroMask, data: wanted & ~result.zeroMask, delta: 0)
  }

  /// Puts data pages into the frame without copying them.
  /// - Returns: the pages that are zero.
  private func refer(
    _ mapping: ProcessMemorySource, block: Int, span: Int, wanted: PageMask, into frame: FrameAssembler
  ) -> PageMask {
    mapping.withBytes(block: block, span: span) { bytes in
      let zero = ZeroScan.mask(span: bytes, wanted: wanted)
      (wanted & ~zero).forEachRun { (run: Range<Int>) in
        let part = bytes.extracting(
          run.lowerBound * PageGeometry.pageByteCount..<run.upperBound * PageGeometry.pageByteCount)
        if wantsDigests {
          digest(part, block: block, span: span, pages: .lowest(run.count) << PageMask(run.lowerBound))
        }
        frame.refer(to: part)
      }
      return zero
    }
  }

  private func digest(_ copy: RawSpan, block: Int, span: Int, pages: PageMask) {
    var digest = digests[block]
    var offset = 0
    var rest = pages
    while rest != 0 {
      let number = UInt64(span * PageGeometry.pagesPerSpan + rest.trailingZeroBitCount)
      digest.add(page: copy.extracting(offset..<offset + PageGeometry.pageByteCount), number: number)
      offset += PageGeometry.pageByteCount
      rest &= rest &- 1
    }
    digests[block] = digest
  }

  /// The digests of what was read since this was last called, per block.
  func takeDigests() -> [BlockDigest] {
    defer { digests = Array(repeating: BlockDigest(), count: digests.count) }
    return digests
  }
}
