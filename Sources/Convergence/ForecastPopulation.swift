// SPDX-License-Identifier: Apache-2.0

/// A part of a guest's working set in a ``Forecast``, whose pages were read, and re-armed, at ages between two bounds
/// before the last sync.
///
/// Its pages are in the order of the walk: the oldest first. Ages are in the guest's own seconds, which pass more slowly
/// while it is throttled.
struct ForecastPopulation {
  /// Of the working set.
  var share: Double
  var youngest: Double
  var oldest: Double
  /// Where in a walk its pages are, as shares of the walk.
  var from = 0.0
  var to = 1.0

  func part(_ part: Double) -> ForecastPopulation {
    var other = self
    other.share *= part
    return other
  }

  func aged(_ seconds: Double) -> ForecastPopulation {
    var other = self
    other.youngest += seconds
    other.oldest += seconds
    return other
  }

  func dirty(_ curve: DirtyCurve) -> Double { share * curve.meanPages(from: youngest, to: oldest) }

  /// Pages found dirty by a walk when it comes to them.
  func found(_ curve: DirtyCurve, by walk: Walk) -> Double {
    let steps = 6
    var sum = 0.0
    for step in 0..<steps {
      let place = (Double(step) + 0.5) / Double(steps)
      sum += curve.pages(
        in: oldest + (youngest - oldest) * place + walk.guestSeconds(at: from + (to - from) * place))
    }
    return share * sum / Double(steps)
  }

  /// What a walk over `share` of the working set leaves, one for each stretch of even pace.
  static func walked(_ walk: Walk, share: Double) -> [ForecastPopulation] {
    guard walk.seconds > 0 else { return [ForecastPopulation(share: share, youngest: 0, oldest: 0)] }
    var populations: [ForecastPopulation] = []
    var age = walk.guestSeconds()
    var place = 0.0
    for stretch in walk.stretches {
      let part = stretch.seconds / walk.seconds
      let younger = max(0, age - stretch.seconds * stretch.pace)
      populations.append(
        ForecastPopulation(share: share * part, youngest: younger, oldest: age, from: place, to: min(1, place + part)))
      (age, place) = (younger, place + part)
    }
    return populations
  }
}
