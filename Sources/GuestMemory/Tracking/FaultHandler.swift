// SPDX-License-Identifier: Apache-2.0
import CHostSystem
import Glibc
import HostSystem
import PageModel
import Synchronization
import SystemPackage

/// What a ``FaultLog`` and the thread that resolves its faults share.
final class FaultRecord: Sendable {
  /// Pages whose protection a write has ended, and what the log was told of.
  let dirty: MarkedPages
  /// Pages that were discarded while they were tracked.
  let discarded: MarkedPages
  /// Held while a batch has pages that are unprotected, and not yet in `dirty`.
  let settling = Mutex<Void>(())
  private let failure = Atomic<CInt>(0)

  init(_ blocks: BlockTable) {
    dirty = MarkedPages(blocks)
    discarded = MarkedPages(blocks)
  }

  /// Says that faults are no longer resolved, and so no longer noted.
  func fail(_ reason: Errno) { failure.store(reason.rawValue, ordering: .releasing) }

  func reset() {
    dirty.removeAll()
    discarded.removeAll()
    failure.store(0, ordering: .releasing)
  }

  func check() throws(GuestMemoryError) {
    let reason = failure.load(ordering: .acquiring)
    guard reason == 0 else { throw .trackingFailed(step: "resolving a write fault", Errno(rawValue: reason)) }
  }
}

/// The thread that lets writers of protected pages go on.
final class FaultHandler: Sendable {
  private let userfault: Userfault
  private let memory: TrackedBlocks
  private let record: FaultRecord
  /// A byte in the pipe ends the thread.
  private let ending: (read: FileDescriptor, write: FileDescriptor)
  private let thread = Mutex<HostThread?>(nil)

  /// Starts the thread. Nothing on it touches guest memory, which would wait for itself.
  init(_ userfault: Userfault, _ memory: TrackedBlocks, _ record: FaultRecord) throws(Errno) {
    self.userfault = userfault
    self.memory = memory
    self.record = record
    do {
      let (read, write) = try FileDescriptor.pipe()
      ending = (read, write)
    } catch { throw (error as? Errno) ?? .tooManyOpenFiles }
    for end in [ending.read, ending.write] { _ = fcntl(end.rawValue, F_SETFD, FD_CLOEXEC) }
    let started = HostThread(name: "pf-wp-faults") { [self] in run() }
    thread.withLock { $0 = started }
  }

  deinit {
    try? ending.read.close()
    try? ending.write.close()
  }

  /// Ends the thread, and waits until it has. Writers then wait until the userfaultfd is released.
  func stop() {
    let running = thread.withLock { thread -> HostThread? in
      defer { thread = nil }
      return thread
    }
    guard let running else { return }
    _ = try? ending.write.writeAll([0])
    running.join()
  }

  private func run() {
    var events = [hs_uffd_event](repeating: hs_uffd_event(), count: Int(HS_UFFD_EVENTS_MAX))
    while true {
      let readable = hs_wait_readable(userfault.descriptor, ending.read.rawValue)
      if readable & 2 != 0, readable > 0 { return }
      let count = unsafe events.withUnsafeMutableBufferPointer {
        unsafe hs_uffd_read(userfault.descriptor, $0.baseAddress, $0.count)
      }
      if count == -EAGAIN || count == -EINTR { continue }
      do throws(Errno) {
        guard count >= 0 else { throw Errno(rawValue: -count) }
        try resolve(events[..<Int(count)])
      } catch {
        // The log is worthless from here on, and says so; but the guest must not hang.
        record.fail(error)
        userfault.release()
        return
      }
    }
  }

  /// First the protection ends, then the page counts as dirty, then its writer wakes. See ``FaultLog``.
  private func resolve(_ events: ArraySlice<hs_uffd_event>) throws(Errno) {
    try record.settling.withLock { _ throws(Errno) in
      for event in events where event.byte_count == 0 {
        let status = hs_uffd_write_protect(
          userfault.descriptor, UInt(event.start), PageGeometry.pageByteCount, HS_UFFD_UNPROTECT_QUIETLY)
        // Memory is being discarded: the writer finds the page protected once more, and asks again.
        guard status == 0 || status == -EAGAIN else {
          // Before anybody can look at the notes, which lack the pages that are not protected any more.
          record.fail(Errno(rawValue: -status))
          throw Errno(rawValue: -status)
        }
      }
      for event in events {
        let pageCount = max(1, Int(event.byte_count) / PageGeometry.pageByteCount)
        note(UInt(event.start), pageCount, in: event.byte_count == 0 ? record.dirty : record.discarded)
      }
    }
    for event in events where event.byte_count == 0 {
      _ = hs_uffd_wake(userfault.descriptor, UInt(event.start), PageGeometry.pageByteCount)
    }
  }

  /// Adds those of some pages that are guest memory: a range that is discarded may go beyond.
  private func note(_ address: UInt, _ pageCount: Int, in pages: MarkedPages) {
    let end = address + UInt(pageCount * PageGeometry.pageByteCount)
    for block in 0..<memory.count {
      let range = memory.range(block: block)
      let (low, high) = (max(address, range.start), min(end, range.start + UInt(range.byteCount)))
      guard low < high else { continue }
      let first = Int(low - range.start) / PageGeometry.pageByteCount
      pages.insert(block: block, pages: first..<first + Int(high - low) / PageGeometry.pageByteCount)
    }
  }
}
