// SPDX-License-Identifier: Apache-2.0
import CHostSystem
import HostSystem
import PageModel
import Synchronization
import SystemPackage

/// Writes to memory of this process, noted by a thread that every first write to a page waits for: userfaultfd's
/// write-protection as it was before Linux 6.7. Takes tens of microseconds per page; ``WriteProtectLog`` takes one.
///
/// Two orders make it sound. A fault: **un-protect, note, wake**. A rearm: **take the notes, protect, read**.
/// - Noted before un-protected, a page could be taken, protected and read in between, and then be un-protected without
///   a note. As it is, what is un-protected late is noted later still.
/// - A page written after the notes were taken and before it is protected has no note, and needs none: it is read
///   afterwards. A page noted in between stays noted, protected or not: it is reported once more than needed.
/// - Woken last, the writer that faulted cannot write and then be paused with its page not yet noted. Another thread
///   can: it may write as soon as the page is un-protected (and the writer that faulted may be taken away by a signal).
///   So ``sync(into:)`` lets the batch at hand finish first. Faults not taken up yet are of writes that did not happen.
///
/// A page that is discarded loses its protection unseen, and at a time that the kernel does not tell. It counts as
/// dirty from then on, until the end.
public final class FaultLog: MarkableDirtyLog {
  public var method: String { "userfaultfd, synchronous" }

  private let memory: TrackedBlocks
  private let access: CInt
  private let features: UInt64
  private let isZeroFilled: Bool
  private let userfault: Userfault
  private let pagemap: Pagemap?
  private let record: FaultRecord
  private let handler = Mutex<FaultHandler?>(nil)

  /// What is used where the kernel has it.
  static let features =
    HS_UFFD_FEATURE_WP | HS_UFFD_FEATURE_EVENT_REMOVE | HS_UFFD_FEATURE_WP_HUGETLBFS_SHMEM
    | HS_UFFD_FEATURE_WP_UNPOPULATED

  /// - Parameters:
  ///   - access: how a userfaultfd is to be had that serves the kernel's own faults as well.
  ///   - features: what the kernel has.
  ///   - isZeroFilled: the memory is private and anonymous, or a memfd's, so what was never touched is zero.
  init(
    _ memory: TrackedBlocks, access: CInt, features: UInt64, isZeroFilled: Bool
  ) throws(GuestMemoryError) {
    self.memory = memory
    self.access = access
    self.features = features & FaultLog.features
    self.isZeroFilled = isZeroFilled
    record = FaultRecord(memory.blocks)
    do throws(Errno) { userfault = try Userfault() } catch { throw .trackingFailed(step: "preparing", error) }
    // Older kernels have no PAGEMAP_SCAN; then pages of zeros cannot be left out.
    pagemap = HostProbes.pagemapScan ? try? Pagemap() : nil
  }

  deinit { stop() }

  public func start() throws(GuestMemoryError) {
    record.reset()
    do throws(Errno) {
      try userfault.open(access: access, features: features)
      for block in 0..<memory.count { try userfault.register(memory.range(block: block)) }
      let started = try FaultHandler(userfault, memory, record)
      handler.withLock { $0 = started }
      for block in 0..<memory.count {
        let range = memory.range(block: block)
        // What is not in the page table cannot be protected there, unless the kernel has markers for it.
        if features & HS_UFFD_FEATURE_WP_UNPOPULATED == 0 { try userfault.populate(range) }
        try userfault.protect(range)
      }
    } catch {
      stop()
      throw .trackingFailed(step: "write-protecting guest memory", error)
    }
  }

  public func sync(into pending: [SpanMap]) throws(GuestMemoryError) {
    record.settling.withLock { _ in }
    try record.check()
    record.dirty.add(to: pending)
    record.discarded.add(to: pending)
  }

  public func rearm(block: Int, spans: Range<Int>) throws(GuestMemoryError) -> StripeMasks {
    try record.check()
    var masks = StripeMasks(repeating: 0)
    record.dirty.take(block: block, spans: spans, into: &masks)
    if let range = memory.range(block: block, spans: spans, holding: masks) {
      // One call for all: to protect a page that is protected, or noted, does no harm.
      do throws(Errno) { try userfault.protect(range) } catch {
        throw .trackingFailed(step: "write-protecting a stripe again", error)
      }
    }
    record.discarded.add(block: block, spans: spans, to: &masks)
    return masks
  }

  public func peek(block: Int, spans: Range<Int>) throws(GuestMemoryError) -> StripeMasks? {
    try record.check()
    var masks = StripeMasks(repeating: 0)
    record.dirty.add(block: block, spans: spans, to: &masks)
    record.discarded.add(block: block, spans: spans, to: &masks)
    return masks
  }

  public func markDirty(block: Int, pages: Range<Int>) { record.dirty.insert(block: block, pages: pages) }

  public func populatedPages(block: Int) -> SpanMap? {
    guard isZeroFilled, features & HS_UFFD_FEATURE_WP_UNPOPULATED != 0 else { return nil }
    return PopulatedPages.find(memory, block: block, pagemap: pagemap)
  }

  public func stop() {
    let running = handler.withLock { handler -> FaultHandler? in
      defer { handler = nil }
      return handler
    }
    running?.stop()
    userfault.release()
  }
}

extension TrackedBlocks {
  /// From the first to the last of some pages of `spans`; nil if there is none.
  fileprivate func range(block: Int, spans: Range<Int>, holding masks: StripeMasks) -> AddressRange? {
    var first: Int?
    var last = 0
    for index in 0..<spans.count where masks[index] != 0 {
      let base = index * PageGeometry.pagesPerSpan
      if first == nil { first = base + masks[index].trailingZeroBitCount }
      last = base + PageGeometry.pagesPerSpan - 1 - masks[index].leadingZeroBitCount
    }
    guard let first else { return nil }
    let start = range(block: block, spans: spans).start + UInt(first * PageGeometry.pageByteCount)
    return AddressRange(start: start, pageCount: last - first + 1)
  }
}
