// SPDX-License-Identifier: Apache-2.0
import Glibc
import PageModel

/// How many distinct pages a guest dirties in a time: what decides whether a migration ends.
///
/// Starts at no pages, never falls, and never exceeds ``limit``. Times are seconds, amounts are pages of 4 KiB.
public struct DirtyCurve: Sendable, Codable, Equatable {
  /// A measurement: distinct pages in a window.
  public struct Point: Sendable, Codable, Equatable {
    public var seconds: Double
    public var pages: Double

    public init(seconds: Double, pages: Double) {
      self.seconds = seconds
      self.pages = pages
    }
  }

  private enum Shape: Codable, Equatable {
    case random(rate: Double, workingSet: Double)
    case sequential(rate: Double, workingSet: Double)
    case measured(MeasuredCurve)
    case sum([DirtyCurve])
  }

  private var shape: Shape
  /// Guest seconds that pass in a second: less than one if the guest is throttled.
  private var pace = 1.0
  /// The most that there can be: the guest's memory, in pages.
  public private(set) var limit: Double

  private init(_ shape: Shape, limit: Double) {
    self.shape = shape
    self.limit = max(0, limit.isFinite ? limit : Double(UInt64.max))
  }

  /// A guest that writes nothing.
  public static let idle = DirtyCurve.random(pagesPerSecond: 0, workingSet: 0)

  /// A guest whose every write hits any page of the working set: W · (1 − e^(−r·t/W)).
  /// - Parameters:
  ///   - pagesPerSecond: writes of pages, counted each time.
  ///   - workingSet: pages that are written at all.
  public static func random(pagesPerSecond: Double, workingSet: Double) -> DirtyCurve {
    DirtyCurve(.random(rate: max(0, pagesPerSecond), workingSet: max(0, workingSet)), limit: workingSet)
  }

  /// A guest that writes its working set from beginning to end, again and again: min(r·t, W).
  public static func sequential(pagesPerSecond: Double, workingSet: Double) -> DirtyCurve {
    DirtyCurve(.sequential(rate: max(0, pagesPerSecond), workingSet: max(0, workingSet)), limit: workingSet)
  }

  /// Guests in one: populations that share no pages.
  public static func sum(_ parts: [DirtyCurve]) -> DirtyCurve {
    DirtyCurve(.sum(parts), limit: parts.reduce(0) { $0 + $1.limit })
  }

  /// What was measured. Between measurements it is interpolated; beyond the last, growth fades as it faded between the
  /// last ones, and where it did not fade, it goes on as it was.
  /// - Parameters:
  ///   - points: in any order; what is not a number, or has no time, is left out, and what falls is raised.
  ///   - limit: the guest's memory, in pages.
  public static func measured(_ points: [Point], limit: Double) -> DirtyCurve {
    DirtyCurve(.measured(MeasuredCurve(points, limit: limit)), limit: limit)
  }

  /// Distinct pages dirtied in `seconds`.
  public func pages(in seconds: Double) -> Double {
    let time = seconds * pace
    guard time > 0 else { return 0 }
    let pages: Double
    switch shape {
    case .random(let rate, let workingSet):
      pages = workingSet > 0 ? workingSet * -expm1(-rate * time / workingSet) : 0
    case .sequential(let rate, let workingSet): pages = min(rate * time, workingSet)
    case .measured(let curve): pages = curve.pages(in: time)
    case .sum(let parts): pages = parts.reduce(0) { $0 + $1.pages(in: time) }
    }
    return min(pages, limit)
  }

  /// Pages of the curve on average over all windows from none to `seconds`: what is dirty after a walk that took so
  /// long, since each page was sent at another time of it.
  public func meanPages(in seconds: Double) -> Double { meanPages(from: 0, to: seconds) }

  /// Pages on average over windows from `from` to `to` seconds.
  public func meanPages(from: Double, to: Double) -> Double {
    guard to > from else { return pages(in: from) }
    if case .random(let rate, let workingSet) = shape, workingSet > 0 {
      // The integral of what pages(in:) says.
      let length = rate * (to - from) * pace / workingSet
      guard length > 1e-6 else { return pages(in: (from + to) / 2) }
      return workingSet * (1 + exp(-rate * max(0, from) * pace / workingSet) * expm1(-length) / length)
    }
    // Early windows are where it bends: twelve steps, shorter at the beginning, the middle of each.
    let steps = 12
    var sum = 0.0
    var before = 0.0
    for step in 1...steps {
      let share = Double(step * step) / Double(steps * steps)
      sum += pages(in: from + (to - from) * (before + share) / 2) * (share - before)
      before = share
    }
    return sum
  }

  /// Pages per second of a guest that was just looked at: all are new.
  public var initialRate: Double {
    let rate: Double
    switch shape {
    case .random(let pagesPerSecond, let workingSet), .sequential(let pagesPerSecond, let workingSet):
      rate = workingSet > 0 ? pagesPerSecond : 0
    case .measured(let curve): rate = curve.initialRate
    case .sum(let parts): rate = parts.reduce(0) { $0 + $1.initialRate }
    }
    return rate * pace
  }

  /// Writes of pages per second as they are estimated from what is seen in `seconds`: some of them go to pages that were
  /// written a moment before, as many as if each page of the working set were as likely as any other.
  func writeRate(seenIn seconds: Double) -> Double {
    let (seen, all) = (pages(in: seconds), workingSet)
    guard seconds > 0, seen > 0, all > 0 else { return 0 }
    let share = min(Self.seenShareMax, seen / all)
    return seen / seconds * (share < 0.01 ? 1 : -log1p(-share) / share)
  }

  /// More than this of the working set in a window says only that it was all.
  private static let seenShareMax = 0.97

  /// Pages that are dirtied at all, given time.
  public var workingSet: Double {
    switch shape {
    case .random(let rate, let workingSet), .sequential(let rate, let workingSet): rate > 0 ? workingSet : 0
    case .measured(let curve): min(limit, curve.workingSet)
    case .sum(let parts): min(limit, parts.reduce(0) { $0 + $1.workingSet })
    }
  }

  /// The same guest, running for `share` of the time only (0 to 1): everything takes longer.
  public func scaled(by share: Double) -> DirtyCurve {
    var slower = self
    slower.pace *= max(0, share.isFinite ? share : 0)
    return slower
  }

  /// Pages that lie in spans written to in a time, of a guest like this whose working set is whole spans: any of a
  /// span's 64 pages shows it, so it goes 64 times as fast; a sequential writer shows no more than it writes.
  var inWrittenSpans: DirtyCurve {
    switch shape {
    case .sequential: return self
    case .sum(let parts):
      var spans = DirtyCurve.sum(parts.map { $0.inWrittenSpans })
      spans.pace = pace
      return spans
    case .random, .measured: return scaled(by: Double(PageGeometry.pagesPerSpan))
    }
  }
}
