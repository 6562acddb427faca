// SPDX-License-Identifier: Apache-2.0
import PageModel

/// What an embedded guest does with its memory. It travels with the guest.
///
/// Together with the number of a page and how often it was written, the plan determines every byte of memory.
public struct WorkloadPlan: Sendable, Equatable, Codable {
  public var pattern: WorkloadPattern
  /// Memory dirtied in a second, in millions of bytes: pages written, times 4096. 0: as fast as possible.
  public var megabytesPerSecond: Double
  /// Where the working set begins, counted over all blocks in their order. A multiple of 4096.
  public var workingSetOffset: UInt64
  /// Size of the working set, which may span blocks. A multiple of 4096. 0: up to the end of memory.
  public var workingSetByteCount: UInt64
  /// Writers. Each has its own pages, so none waits for another.
  public var threadCount: Int
  /// Another seed, other content and another order of writes.
  public var seed: UInt64
  /// What memory holds at first. In the working set nothing is zero at first (what is sparsely written would stay all
  /// but zero for ever), unless there is nothing but zeros in the mix; but all is zero if the working set grows.
  public var mix: ContentMix
  /// Percentage of the rewritten pages, where whole pages are written, that compress as text does. The others do not.
  public var compressibility: Int

  /// Most writer threads.
  public static let threadCountMax = 64
  /// Highest rate that can be asked for, in MB/s.
  public static let megabytesPerSecondMax = 1e6

  public init(
    pattern: WorkloadPattern, megabytesPerSecond: Double = 0, workingSetOffset: UInt64 = 0,
    workingSetByteCount: UInt64 = 0, threadCount: Int = 1, seed: UInt64 = 1, mix: ContentMix = .standard,
    compressibility: Int = 60
  ) {
    self.pattern = pattern
    self.megabytesPerSecond = megabytesPerSecond
    self.workingSetOffset = workingSetOffset
    self.workingSetByteCount = workingSetByteCount
    self.threadCount = threadCount
    self.seed = seed
    self.mix = mix
    self.compressibility = compressibility
  }

  /// Whether a guest of this size can do it.
  /// - Throws: ``WorkloadError``, naming the first thing that is wrong.
  public func check(guestByteCount: UInt64) throws(WorkloadError) {
    if case .growing(let seconds) = pattern, !WorkloadPattern.growthSeconds.contains(seconds) {
      throw .badGrowth(found: "\(seconds)", allowed: WorkloadPattern.growthSeconds)
    }
    guard megabytesPerSecond >= 0, megabytesPerSecond <= Self.megabytesPerSecondMax else {
      throw .badRate(found: megabytesPerSecond, allowed: 0...Self.megabytesPerSecondMax)
    }
    guard (1...Self.threadCountMax).contains(threadCount) else {
      throw .badThreadCount(found: threadCount, allowed: 1...Self.threadCountMax)
    }
    guard (0...100).contains(compressibility) else { throw .badCompressibility(found: compressibility) }
    try mix.check()
    let page = UInt64(PageGeometry.pageByteCount)
    guard workingSetOffset.isMultiple(of: page) else {
      throw .workingSetNotPages(field: "offset", found: workingSetOffset)
    }
    guard workingSetByteCount.isMultiple(of: page) else {
      throw .workingSetNotPages(field: "size", found: workingSetByteCount)
    }
    guard workingSetOffset < guestByteCount, workingSetByteCount <= guestByteCount - workingSetOffset else {
      throw .workingSetOutside(
        offset: workingSetOffset, byteCount: workingSetByteCount, guestByteCount: guestByteCount)
    }
    let pageCount = workingPages(guestByteCount: guestByteCount).count
    guard writerCount <= pageCount else { throw .tooFewPages(found: pageCount, threadCount: threadCount) }
  }

  /// The pages that are written, by their number over all blocks. The plan was checked for this size.
  public func workingPages(guestByteCount: UInt64) -> Range<Int> {
    let page = UInt64(PageGeometry.pageByteCount)
    let first = Int(workingSetOffset / page)
    let byteCount = workingSetByteCount == 0 ? guestByteCount - workingSetOffset : workingSetByteCount
    return first..<first + Int(byteCount / page)
  }

  /// Threads that there are.
  var writerCount: Int { pattern == .idle ? 0 : threadCount }
}

extension WorkloadPlan: CustomStringConvertible {
  /// One line: `sparse, 50 MB/s over 512 MiB, 2 threads`.
  public var description: String {
    guard pattern != .idle else { return "idle" }
    let rate =
      megabytesPerSecond == 0
      ? "as fast as possible" : "\(Decimal.fixed(megabytesPerSecond, digits: megabytesPerSecond < 10 ? 1 : 0)) MB/s"
    let size = workingSetByteCount == 0 ? "all memory" : ByteCount.format(workingSetByteCount)
    return "\(pattern), \(rate) over \(size), \(threadCount) thread\(threadCount == 1 ? "" : "s")"
  }
}
