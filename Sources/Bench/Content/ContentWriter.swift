// SPDX-License-Identifier: Apache-2.0
public import GuestMemory
import HostSystem
import PageModel
import Synchronization
public import Workload

/// Writes content into guest memory, on all CPUs; pages of zeros are left alone.
public enum ContentWriter {
  /// Fills all blocks of `memory`, which is zero.
  /// - Parameter isCancelled: looked at once per 256 KiB and thread.
  /// - Returns: false if it was cancelled.
  public static func fill(
    _ memory: any DestinationMemory, with content: WorkloadContent, isCancelled: @escaping @Sendable () -> Bool
  ) throws(GuestMemoryError) -> Bool {
    let work = Work()
    let threads = max(1, min(16, HostThread.allowedCPUs().count))
    let others = (1..<threads).map { index in
      HostThread(name: "bench-fill-\(index)") { run(work, memory, content, isCancelled) }
    }
    run(work, memory, content, isCancelled)
    for other in others { other.join() }
    if let failure = work.failure.withLock({ $0 }) { throw failure }
    return !isCancelled()
  }

  /// What the threads share.
  private final class Work: Sendable {
    let nextSpan = Atomic<Int>(0)
    let failure = Mutex<GuestMemoryError?>(nil)
  }

  private static func run(
    _ work: Work, _ memory: any DestinationMemory, _ content: WorkloadContent, _ isCancelled: () -> Bool
  ) {
    do throws(GuestMemoryError) {
      guard var staging = try? PageBuffer(byteCount: PageGeometry.spanByteCount) else {
        throw .cannotReserve(byteCount: UInt64(PageGeometry.spanByteCount), reason: "mmap")
      }
      while !isCancelled(), work.failure.withLock({ $0 == nil }) {
        guard let place = place(of: work.nextSpan.add(1, ordering: .relaxed).oldValue, in: memory.blocks) else {
          return
        }
        try write(place, of: content, to: memory, by: &staging)
      }
    } catch { work.failure.withLock { $0 = $0 ?? error } }
  }

  /// A span, and the number over all blocks of the first page of its block.
  private struct Place {
    var block: Int
    var span: Int
    var firstPage: Int
  }

  private static func place(of number: Int, in blocks: BlockTable) -> Place? {
    var place = Place(block: 0, span: number, firstPage: 0)
    while place.block < blocks.blocks.count {
      let spans = blocks.spanCount(block: place.block)
      if place.span < spans { return place }
      place.span -= spans
      place.firstPage += blocks.pageCount(block: place.block)
      place.block += 1
    }
    return nil
  }

  private static func write(
    _ place: Place, of content: WorkloadContent, to memory: any DestinationMemory, by staging: inout PageBuffer
  ) throws(GuestMemoryError) {
    let first = place.firstPage + place.span * PageGeometry.pagesPerSpan
    var pages = PageMask(0)
    var end = 0
    for page in 0..<memory.blocks.pages(block: place.block, span: place.span).nonzeroBitCount
    where !content.isZero(page: first + page) {
      staging.withMutableBytes(end..<end + PageGeometry.pageByteCount) { content.write(page: first + page, into: &$0) }
      pages |= 1 << PageMask(page)
      end += PageGeometry.pageByteCount
    }
    guard pages != 0 else { return }
    let stored = pages
    try staging.withBytes(0..<end) { (data) throws(GuestMemoryError) in
      try memory.store(data, block: place.block, span: place.span, pages: stored)
    }
  }
}
