// SPDX-License-Identifier: Apache-2.0
import Glibc
import GuestMemory
import HostSystem
import Lanes
import PageModel

/// How fast the guest writes, while iterations are under way: by having the log forget a sample of stripes several times
/// a second, and counting what it says.
///
/// A sync says how many pages are dirty, which is less than were written as soon as the guest comes back to pages that are
/// dirty already; a short window does not have that fault. What is found becomes pending, as if a lane had found it. At
/// most ``stripeCountMax`` stripes are looked at, spread evenly, so that a terabyte costs what a gigabyte does.
///
/// Belongs to the session's thread; lanes tell the ``sample`` what they find there.
struct DirtyMeter {
  /// Stripes (2 MiB) in the sample, and the share of all stripes that it is at most.
  private static let stripeCountMax = 256
  private static let shareMax = 8
  /// Seconds of memory of the rate, and of the working set.
  private static let rateMemory = 1.0
  /// Pages from which on a count says something.
  private static let tellingPages = 64
  private static let workingSetMemory: UInt64 = 8_000_000_000

  private let log: any DirtyLog
  private let pending: [SpanMap]
  let sample: DirtySample
  private var lastAt: UInt64
  private var lastFound: UInt64 = 0
  /// Pages written in this generation of the working set, and in the one before, per stripe of the sample.
  private var touched: [StripeMasks]
  private var touchedBefore: [StripeMasks]
  private var generationAt: UInt64
  /// Pages of the sample that the guest writes to; nil before it is known.
  private var setPages: Double?
  /// Pages per second that the guest would write for the first time in a short while if it were not throttled; nil
  /// before it is known. What it writes follows its throttle at once; this need not.
  private(set) var unthrottledPagesPerSecond: Double?

  /// - Parameter now: when the log began, on the monotonic clock.
  init(_ log: any DirtyLog, pending: [SpanMap], blocks: BlockTable, now: UInt64) {
    self.log = log
    self.pending = pending
    sample = DirtySample(blocks, stripeCountMax: Self.stripeCountMax, shareMax: Self.shareMax)
    touched = Array(repeating: StripeMasks(repeating: 0), count: sample.stripes.count)
    touchedBefore = touched
    lastAt = now
    generationAt = now
  }

  /// Looks at the sample.
  /// - Parameter throttle: share of the time since the last look that the guest could not run.
  mutating func look(now: UInt64, throttle: Double) throws(GuestMemoryError) {
    let known = touchedPages
    var (looked, seenBefore) = (0, 0)
    for (index, stripe) in sample.stripes.enumerated() {
      let masks = try log.rearm(block: stripe.block, spans: stripe.spans)
      for span in stripe.spans {
        let mask = masks[span - stripe.spans.lowerBound]
        guard mask != 0 else { continue }
        pending[stripe.block].insert(mask, span: span)
        let at = span - stripe.spans.lowerBound
        looked += mask.nonzeroBitCount
        seenBefore += (mask & (touched[index][at] | touchedBefore[index][at])).nonzeroBitCount
        touched[index][at] |= mask
        sample.note(mask.nonzeroBitCount)
      }
    }
    let elapsed = Double(now - min(now, lastAt)) / 1e9
    guard elapsed > 0.01 else { return }
    let found = sample.foundPages
    estimate(known: known, looked: looked, seenBefore: seenBefore)
    let again = correction(looked: looked)
    let rate = Double(found - lastFound) * again * sample.scale / elapsed / max(0.01, 1 - throttle)
    let weight = 1 - exp(-elapsed / Self.rateMemory)
    unthrottledPagesPerSecond = unthrottledPagesPerSecond.map { $0 + (rate - $0) * weight } ?? rate
    (lastAt, lastFound) = (now, found)
    if now - min(now, generationAt) > Self.workingSetMemory {
      touchedBefore = touched
      for index in touched.indices { touched[index] = StripeMasks(repeating: 0) }
      generationAt = now
    }
  }

  /// The working set, from how many of the pages found now were known already: if those known are a third of it, so are
  /// those of the pages found (capture and recapture; Lincoln and Petersen).
  private mutating func estimate(known: Int, looked: Int, seenBefore: Int) {
    guard seenBefore >= Self.tellingPages else { return }
    let size = max(Double(known) * Double(looked) / Double(seenBefore), Double(touchedPages))
    setPages = setPages.map { $0 + (size - $0) * 0.25 } ?? size
  }

  /// Writes per page found: some went to pages that were written a moment before.
  private func correction(looked: Int) -> Double {
    guard let setPages, looked >= Self.tellingPages else { return 1 }
    let share = min(0.97, Double(looked) / max(setPages, Double(looked)))
    return share < 0.01 ? 1 : -Glibc.log(1 - share) / share
  }

  /// Pages of guest memory that the guest writes to.
  var workingSetPages: Double { (setPages ?? Double(touchedPages)) * sample.scale }

  /// Pages of the sample that were written in the last seconds.
  private var touchedPages: Int {
    var count = 0
    for index in touched.indices {
      for span in 0..<PageGeometry.spansPerStripe {
        count += (touched[index][span] | touchedBefore[index][span]).nonzeroBitCount
      }
    }
    return count
  }
}
