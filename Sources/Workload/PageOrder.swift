// SPDX-License-Identifier: Apache-2.0
import Glibc

/// Which page a thread writes next.
///
/// Of *n* threads, thread *i* has every *n*-th page of the working set, from its page *i* on. So all have pages of
/// all parts of it, and together they go through it in order where the order is sequential.
struct PageOrder {
  private let pattern: WorkloadPattern
  /// Pages of this thread.
  private let count: Int
  private let first: Int
  private let distance: Int
  /// `hot`: natural logarithm of the number of ranks, and the factor that spreads ranks over pages.
  private let logarithm: Double
  private let spread: Int
  /// `growing`: nanoseconds until all is in use.
  private let growth: Double

  init(_ plan: WorkloadPlan, guestByteCount: UInt64, thread: Int) {
    let pages = plan.workingPages(guestByteCount: guestByteCount)
    pattern = plan.pattern
    count = Self.ownPageCount(pages.count, thread: thread, threadCount: plan.writerCount)
    first = pages.lowerBound + thread
    distance = plan.writerCount
    logarithm = log(Double(count + 1))
    spread = Self.spread(count)
    if case .growing(let seconds) = plan.pattern { growth = Double(seconds) * 1e9 } else { growth = 1 }
  }

  /// Pages that a thread has of a working set.
  static func ownPageCount(_ pageCount: Int, thread: Int, threadCount: Int) -> Int {
    (pageCount - thread + threadCount - 1) / threadCount
  }

  /// The page to write next, by its number in the guest.
  @inline(__always) func next(_ record: inout WriterRecord) -> Int {
    let own: Int
    switch pattern {
    case .idle, .sparse, .pages: own = Scramble.below(count, Self.draw(&record))
    case .sequential:
      // A thread that has written its last page is at `count`, not at 0: both mean the same.
      own = Int(record.position) < count ? Int(record.position) : 0
      record.position = UInt64(own + 1)
    case .hot: own = hot(Self.draw(&record))
    case .growing: own = growing(&record)
    }
    return first + own * distance
  }

  /// Ranks 1 to *count*, each 1/rank as often as the first: the inverse of the distribution's integral, which is a
  /// logarithm.
  private func hot(_ random: UInt64) -> Int {
    let fraction = Double(random >> 11) * 0x1p-53
    let rank = min(count, max(1, Int(exp(fraction * logarithm)))) - 1
    return rank * spread % count
  }

  private func growing(_ record: inout WriterRecord) -> Int {
    let share = min(1, Double(record.runNanoseconds) / growth)
    let wanted = min(count, Int(Double(count) * share) + 1)
    if record.position < UInt64(wanted) {
      record.position += 1
      return Int(record.position) - 1
    }
    return Scramble.below(Int(record.position), Self.draw(&record))
  }

  private static func draw(_ record: inout WriterRecord) -> UInt64 {
    record.random &+= Scramble.step
    return Scramble.hash(record.random)
  }

  /// A factor without a common divisor with `count`, so that multiplication by it permutes the ranks; near the golden
  /// section, so that neighbouring ranks lie far apart. Below 2²⁹: times any page of 64 TiB, it does not overflow.
  private static func spread(_ count: Int) -> Int {
    func divisor(_ left: Int, _ right: Int) -> Int { right == 0 ? left : divisor(right, left % right) }
    var factor = max(1, Int(Double(min(count, 1 << 29)) * 0.618))
    while divisor(factor, max(1, count)) != 1 { factor += 1 }
    return factor
  }
}
