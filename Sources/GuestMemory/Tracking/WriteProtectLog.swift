// SPDX-License-Identifier: Apache-2.0
import CHostSystem
import PageModel
import SystemPackage

/// Writes to memory of this process, noted by the kernel alone: userfaultfd's asynchronous write-protection, read with
/// PAGEMAP_SCAN (Linux 6.7).
///
/// A write to a protected page ends its protection, in the kernel and without a message; a page that is not protected
/// was written. ``rearm(block:spans:)`` finds such pages and protects them again in one step per page, so there is no
/// moment in which a write would go unnoticed: it needs no lock, and lanes do not meet.
///
/// Seen is every write that goes through this mapping: by the guest's threads, by KVM, by the kernel (`read` into guest
/// memory), by another process with `process_vm_writev`. Not seen: what ``MarkableDirtyLog`` lists.
///
/// A huge page stays one until its first write after ``start()``, which splits it; memory that was never touched gets
/// small pages from then on.
public final class WriteProtectLog: MarkableDirtyLog {
  public var method: String { "userfaultfd, asynchronous" }

  private let memory: TrackedBlocks
  private let access: CInt
  private let isZeroFilled: Bool
  private let pagemap: Pagemap
  private let userfault: Userfault
  private let marks: MarkedPages

  static let features = HS_UFFD_FEATURE_WP_ASYNC | HS_UFFD_FEATURE_WP_UNPOPULATED | HS_UFFD_FEATURE_WP_HUGETLBFS_SHMEM

  /// - Parameters:
  ///   - access: how a userfaultfd is to be had. One for faults of user code will do: no fault is ever delivered.
  ///   - isZeroFilled: the memory is private and anonymous, or a memfd's, so what was never touched is zero.
  init(_ memory: TrackedBlocks, access: CInt, isZeroFilled: Bool) throws(GuestMemoryError) {
    self.memory = memory
    self.access = access
    self.isZeroFilled = isZeroFilled
    marks = MarkedPages(memory.blocks)
    do throws(Errno) {
      pagemap = try Pagemap()
      userfault = try Userfault()
    } catch { throw .trackingFailed(step: "preparing", error) }
  }

  deinit { stop() }

  public func start() throws(GuestMemoryError) {
    marks.removeAll()
    do throws(Errno) {
      try userfault.open(access: access, features: Self.features)
      for block in 0..<memory.count { try userfault.register(memory.range(block: block)) }
      for block in 0..<memory.count { try userfault.protect(memory.range(block: block)) }
    } catch {
      userfault.release()
      throw .trackingFailed(step: "write-protecting guest memory", error)
    }
  }

  public func sync(into pending: [SpanMap]) throws(GuestMemoryError) {
    for block in 0..<memory.count {
      do throws(Errno) {
        try memory.forEachChunk(block: block) { range, firstSpan, words throws(Errno) in
          try pagemap.addWritten(range, rearm: false, to: &words)
          for span in 0..<range.spanCount where words[span] != 0 {
            pending[block].insert(words[span], span: firstSpan + span)
          }
        }
      } catch { throw .trackingFailed(step: "looking for written pages", error) }
    }
    marks.add(to: pending)
  }

  public func rearm(block: Int, spans: Range<Int>) throws(GuestMemoryError) -> StripeMasks {
    var masks = StripeMasks(repeating: 0)
    marks.take(block: block, spans: spans, into: &masks)
    var words = masks.mutableSpan
    do throws(Errno) { try pagemap.addWritten(memory.range(block: block, spans: spans), rearm: true, to: &words) } catch
    {
      throw .trackingFailed(step: "write-protecting a stripe again", error)
    }
    return masks
  }

  public func peek(block: Int, spans: Range<Int>) throws(GuestMemoryError) -> StripeMasks? {
    var masks = StripeMasks(repeating: 0)
    marks.add(block: block, spans: spans, to: &masks)
    var words = masks.mutableSpan
    do throws(Errno) {
      try pagemap.addWritten(memory.range(block: block, spans: spans), rearm: false, to: &words)
    } catch { throw .trackingFailed(step: "looking at a stripe", error) }
    return masks
  }

  public func markDirty(block: Int, pages: Range<Int>) { marks.insert(block: block, pages: pages) }

  public func populatedPages(block: Int) -> SpanMap? {
    isZeroFilled ? PopulatedPages.find(memory, block: block, pagemap: pagemap) : nil
  }

  public func stop() { userfault.release() }
}
