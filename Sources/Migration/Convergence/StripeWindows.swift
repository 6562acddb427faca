// SPDX-License-Identifier: Apache-2.0
import Convergence
import GuestMemory
import PageModel

/// Distinct pages in windows of 1, 2, 4 … ticks, from what was written in each tick: masks are joined until a window
/// ends, and counted then.
struct StripeWindows {
  /// Lengths of windows, as doublings of a tick: with ticks of 100 ms, 0.1 to 3.2 s.
  static let doublings = 6

  /// One word per span, for each length.
  private var open: [[PageMask]]
  private var openedAt: [UInt64]
  private var everything: [PageMask]
  private var tick = 0
  /// What a page that was counted stands for.
  private let scale: Double

  /// - Parameters:
  ///   - spanCount: spans that are looked at.
  ///   - scale: spans of the guest for each of them.
  ///   - now: when the first tick begins, in nanoseconds.
  init(spanCount: Int, scale: Double, now: UInt64) {
    let empty = [PageMask](repeating: 0, count: spanCount)
    open = Array(repeating: empty, count: Self.doublings)
    openedAt = Array(repeating: now, count: Self.doublings)
    everything = empty
    self.scale = scale
  }

  /// Takes in what was written in a tick.
  /// - Returns: the windows that end with it.
  mutating func note(_ written: [PageMask], now: UInt64) -> [DirtyTrace.Window] {
    tick += 1
    for span in written.indices { everything[span] |= written[span] }
    var ended: [DirtyTrace.Window] = []
    for length in 0..<Self.doublings {
      for span in written.indices { open[length][span] |= written[span] }
      guard tick.isMultiple(of: 1 << length) else { continue }
      ended.append(count(open[length], seconds: Double(now - openedAt[length]) / 1e9))
      for span in written.indices { open[length][span] = 0 }
      openedAt[length] = now
    }
    return ended
  }

  private func count(_ masks: [PageMask], seconds: Double) -> DirtyTrace.Window {
    var (pages, spans) = (0, 0)
    for mask in masks where mask != 0 {
      pages += mask.nonzeroBitCount
      spans += 1
    }
    return DirtyTrace.Window(seconds: seconds, pages: Double(pages) * scale, spans: Double(spans) * scale)
  }

  /// Distinct pages so far, of the guest.
  var workingSetPages: Double { Double(everything.reduce(0) { $0 + $1.nonzeroBitCount }) * scale }

  /// Where the pages so far are, all but the outermost fiftieth: shares of the spans that are looked at; nil if there
  /// are none.
  var place: [Double]? {
    let total = everything.reduce(0) { $0 + $1.nonzeroBitCount }
    guard total > 0 else { return nil }
    var below = 0
    var (first, last): (Int?, Int) = (nil, 0)
    for (span, pages) in everything.enumerated() where pages != 0 {
      if below * 50 <= total * 49 { last = span }
      below += pages.nonzeroBitCount
      if first == nil, below * 50 >= total { first = span }
    }
    let count = Double(everything.count)
    return [Double(first ?? 0) / count, Double(last + 1) / count]
  }

  /// Pages written so far in a span, by its number among those looked at.
  func pages(_ span: Int) -> PageMask { everything[span] }
}

/// Distinct pages by the time since a stripe was read last, where somebody else reads: looking must not take anything
/// away then, so windows cannot be joined, but each stripe is one.
struct StripeAges {
  /// What was seen of a stripe at the last look, and since when it has been collecting.
  private var seen: [StripeMasks]
  private var since: [UInt64]
  /// Stripes that were seen written: the others, which nobody can see being read, say nothing of an age.
  private var isWritten: [Bool]
  private var sums: [(seconds: Double, pages: Double, count: Double)]
  private let stripesOfGuest: Double

  init(stripeCount: Int, stripesOfGuest: Int, now: UInt64) {
    seen = Array(repeating: StripeMasks(repeating: 0), count: stripeCount)
    since = Array(repeating: now, count: stripeCount)
    isWritten = Array(repeating: false, count: stripeCount)
    sums = Array(repeating: (0, 0, 0), count: StripeWindows.doublings)
    self.stripesOfGuest = Double(stripesOfGuest)
  }

  /// Takes in a look at a stripe.
  /// - Parameter before: when the look before was, in nanoseconds.
  mutating func note(stripe: Int, _ masks: StripeMasks, before: UInt64, now: UInt64) {
    var (pages, lost) = (0, false)
    for span in 0..<8 {
      pages += masks[span].nonzeroBitCount
      if seen[stripe][span] & ~masks[span] != 0 { lost = true }
    }
    seen[stripe] = masks
    // It was read since the last look, in the middle of that time as far as anybody knows.
    if lost { since[stripe] = before + (now - before) / 2 }
    if pages > 0 { isWritten[stripe] = true }
    guard isWritten[stripe] else { return }
    let age = Double(now - since[stripe]) / 1e9
    // Each length takes the ages near it.
    for length in sums.indices {
      let wanted = 0.1 * Double(1 << length)
      guard age > wanted * 0.75, age <= wanted * 1.5 else { continue }
      sums[length].seconds += age
      sums[length].pages += Double(pages)
      sums[length].count += 1
    }
  }

  /// What was seen so far, as windows of the whole guest; lengths that too few stripes had are left out. Begins anew.
  mutating func windows() -> [DirtyTrace.Window] {
    defer { sums = Array(repeating: (0, 0, 0), count: StripeWindows.doublings) }
    let written = Double(isWritten.count { $0 })
    let scale = written / Double(max(1, seen.count)) * stripesOfGuest
    return sums.filter { $0.count > 0 && $0.count >= written / 4 }.map {
      DirtyTrace.Window(seconds: $0.seconds / $0.count, pages: $0.pages / $0.count * scale)
    }
  }
}
