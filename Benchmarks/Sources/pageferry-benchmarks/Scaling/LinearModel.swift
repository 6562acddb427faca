// SPDX-License-Identifier: Apache-2.0

/// `base + slope · x`, fitted so that relative errors are small: the smallest guest counts as much as the largest.
struct LinearModel {
  let base: Double
  let slope: Double
  /// The largest relative error over the points that it was fitted to.
  let worst: Double

  /// - Parameter points: at least one; `y` above zero.
  init(_ points: [(x: Double, y: Double)]) {
    // Least squares with weights 1/y².
    var (sum, x, y, xx, xy) = (0.0, 0.0, 0.0, 0.0, 0.0)
    for point in points {
      let weight = 1 / max(point.y * point.y, .leastNormalMagnitude)
      sum += weight
      x += weight * point.x
      y += weight * point.y
      xx += weight * point.x * point.x
      xy += weight * point.x * point.y
    }
    let spread = sum * xx - x * x
    let slope = spread > 0 ? (sum * xy - x * y) / spread : (x > 0 ? y / x : 0)
    let base = sum > 0 ? (y - slope * x) / sum : 0
    self.slope = slope
    self.base = base
    worst = points.map { abs(base + slope * $0.x - $0.y) / max($0.y, .leastNormalMagnitude) }.max() ?? 0
  }
}
