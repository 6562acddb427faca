// SPDX-License-Identifier: Apache-2.0
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
  /// Pages per second that the guest writes for the first time in a short while; nil before it is known.
  private(set) var pagesPerSecond: Double?

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
  mutating func look(now: UInt64) throws(GuestMemoryError) {
    for (index, stripe) in sample.stripes.enumerated() {
      let masks = try log.rearm(block: stripe.block, spans: stripe.spans)
      for span in stripe.spans {
        let mask = masks[span - stripe.spans.lowerBound]
        guard mask != 0 else { continue }
        pending[stripe.block].insert(mask, span: span)
        touched[index][span - stripe.spans.lowerBound] |= mask
        sample.note(mask.nonzeroBitCount)
      }
    }
    let elapsed = Double(now - min(now, lastAt)) / 1e9
    guard elapsed > 0.01 else { return }
    let found = sample.foundPages
    let rate = Double(found - lastFound) * sample.scale / elapsed
    let weight = min(1, elapsed / Self.rateMemory)
    pagesPerSecond = pagesPerSecond.map { $0 + (rate - $0) * max(weight, 0.2) } ?? rate
    (lastAt, lastFound) = (now, found)
    if now - min(now, generationAt) > Self.workingSetMemory {
      touchedBefore = touched
      for index in touched.indices { touched[index] = StripeMasks(repeating: 0) }
      generationAt = now
    }
  }

  /// The throttle was changed: what was measured before is of another guest.
  mutating func restart() { pagesPerSecond = nil }

  /// Pages that were written in the last seconds.
  var workingSetPages: Double {
    var count = 0
    for index in touched.indices {
      for span in 0..<PageGeometry.spansPerStripe {
        count += (touched[index][span] | touchedBefore[index][span]).nonzeroBitCount
      }
    }
    return Double(count) * sample.scale
  }
}
