// SPDX-License-Identifier: Apache-2.0
import Glibc

/// Measured points of a ``DirtyCurve``, and what is between and beyond them.
struct MeasuredCurve: Sendable, Codable, Equatable {
  /// Ascending in time, never falling; the first is the origin.
  private var points: [DirtyCurve.Point] = [.init(seconds: 0, pages: 0)]
  /// Beyond the last point: pages per second there, and the seconds in which that falls to 1/e; nil if it does not.
  private var slope = 0.0
  private var fading: Double?
  private var limit: Double

  /// Growth that keeps more than this share of its pace from one pair of points to the next is not fading: noise.
  private static let steady = 0.9

  init(_ measured: [DirtyCurve.Point], limit: Double) {
    self.limit = limit
    let usable = measured.filter {
      $0.seconds.isFinite && $0.pages.isFinite && $0.seconds > 0 && $0.pages >= 0
    }
    for point in usable.sorted(by: { $0.seconds < $1.seconds }) {
      let highest = points[points.count - 1]
      let pages = min(limit, max(highest.pages, point.pages))
      if point.seconds > highest.seconds {
        points.append(.init(seconds: point.seconds, pages: pages))
      } else {
        points[points.count - 1].pages = pages
      }
    }
    extrapolate()
  }

  private mutating func extrapolate() {
    guard points.count > 1 else { return }
    let slopes = zip(points, points.dropFirst()).map { ($1.pages - $0.pages) / ($1.seconds - $0.seconds) }
    slope = slopes[slopes.count - 1]
    guard slopes.count > 1, slope > 0 else { return }
    let before = slopes[slopes.count - 2]
    guard slope < before * Self.steady else { return }
    let last = points.count - 1
    // Slopes are those of the middles of two segments.
    let distance = (points[last].seconds - points[last - 2].seconds) / 2
    let found = distance / log(before / slope)
    fading = found
    // At the last point, growth is slower than in the middle of the last segment.
    slope *= exp(-(points[last].seconds - points[last - 1].seconds) / 2 / found)
  }

  func pages(in seconds: Double) -> Double {
    let last = points[points.count - 1]
    guard seconds < last.seconds else {
      let more = seconds - last.seconds
      guard slope > 0 else { return last.pages }
      return min(limit, last.pages + (fading.map { slope * $0 * -expm1(-more / $0) } ?? slope * more))
    }
    var (low, high) = (0, points.count - 1)
    while high - low > 1 {
      let middle = (low + high) / 2
      if points[middle].seconds <= seconds { low = middle } else { high = middle }
    }
    let (from, to) = (points[low], points[high])
    return from.pages + (to.pages - from.pages) * (seconds - from.seconds) / (to.seconds - from.seconds)
  }

  var initialRate: Double { points.count > 1 ? points[1].pages / points[1].seconds : 0 }

  var workingSet: Double {
    let last = points[points.count - 1].pages
    guard slope > 0 else { return last }
    return min(limit, fading.map { last + slope * $0 } ?? limit)
  }
}
