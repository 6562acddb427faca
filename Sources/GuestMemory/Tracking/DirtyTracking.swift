// SPDX-License-Identifier: Apache-2.0
public import PageModel

/// Makes dirty logs for memory of this process.
public enum DirtyTracking {
  /// How writes are noticed.
  public enum Kind: String, Sendable, CaseIterable {
    /// The best that the kernel has.
    case automatic
    /// By the kernel alone, at a microsecond for the first write to a page (Linux 6.7).
    case asynchronous
    /// By a thread that the writer waits for, at tens of microseconds (Linux 5.7).
    case synchronous
  }

  /// A log of the writes to `memory`.
  /// - Throws: ``GuestMemoryError/trackingUnavailable(reason:)``, which says what is missing and what to do.
  public static func log(
    for memory: AnonymousMemory, kind: Kind = .automatic
  ) throws(GuestMemoryError) -> any MarkableDirtyLog {
    try log(TrackedBlocks(memory), kind, isZeroFilled: true, isShared: memory.backing == .memfd)
  }

  /// A log of the writes to a guest's blocks, which stay mapped until the log has been stopped.
  /// - Parameters:
  ///   - bases: where each block begins in this process, page-aligned, one per block.
  ///   - isZeroFilled: all of it is private anonymous memory, or a shared memory object (a memfd, tmpfs), not of
  ///     hugetlbfs, and no other file. So pages that were never touched are zero, and the log can tell which.
  ///   - isShared: some of it is mapped MAP_SHARED.
  /// - Throws: ``GuestMemoryError/trackingUnavailable(reason:)``, which says what is missing and what to do.
  @unsafe public static func log(
    blocks: BlockTable, bases: [UnsafeRawPointer], isZeroFilled: Bool, isShared: Bool, kind: Kind = .automatic
  ) throws(GuestMemoryError) -> any MarkableDirtyLog {
    try unsafe log(TrackedBlocks(blocks, bases: bases), kind, isZeroFilled: isZeroFilled, isShared: isShared)
  }

  /// Why this kernel refuses a kind of log to this process, nil if it does not.
  public static func refusal(of kind: Kind, isShared: Bool = true) -> TrackingRefusal? {
    do throws(TrackingRefusal) { _ = try choose(kind, TrackingSupport.probe(), isShared: isShared) } catch {
      return error
    }
    return nil
  }

  /// A kind, and how to get at it.
  enum Choice: Equatable {
    case asynchronous(TrackingSupport.Offer)
    case synchronous(TrackingSupport.Offer)
  }

  static func choose(
    _ kind: Kind, _ support: TrackingSupport, isShared: Bool
  ) throws(TrackingRefusal) -> Choice {
    switch kind {
    case .asynchronous: return .asynchronous(try support.asynchronous())
    case .synchronous: return .synchronous(try support.synchronous(isShared: isShared))
    case .automatic:
      if let offer = try? support.asynchronous() { return .asynchronous(offer) }
      return .synchronous(try support.synchronous(isShared: isShared))
    }
  }

  private static func log(
    _ memory: TrackedBlocks, _ kind: Kind, isZeroFilled: Bool, isShared: Bool
  ) throws(GuestMemoryError) -> any MarkableDirtyLog {
    // Of a huge page of hugetlbfs, the kernel knows only whether something was written to it.
    for block in memory.blocks.blocks where block.hostPageByteCount != UInt32(PageGeometry.pageByteCount) {
      throw .trackingUnavailable(
        reason: "RAM block '\(block.name)' has host pages of \(ByteCount.format(UInt64(block.hostPageByteCount))), and "
          + "the kernel notes writes per host page: use 4 KiB pages (transparent huge pages are)")
    }
    let choice: Choice
    do throws(TrackingRefusal) { choice = try choose(kind, TrackingSupport.probe(), isShared: isShared) } catch {
      throw .trackingUnavailable(reason: error.description)
    }
    switch choice {
    case .asynchronous(let offer):
      return try WriteProtectLog(memory, access: offer.access, isZeroFilled: isZeroFilled)
    case .synchronous(let offer):
      return try FaultLog(memory, access: offer.access, features: offer.features, isZeroFilled: isZeroFilled)
    }
  }
}
