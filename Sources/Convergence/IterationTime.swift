// SPDX-License-Identifier: Apache-2.0

/// How long an iteration takes, by those before it: `fixed + pages × perPage`, from its begin until the destination has
/// acknowledged all of it. Wire, codec, deltas and the peer's own speed are all in it.
///
/// A line through what was measured, by least squares of relative errors: an iteration of 5 ms says as much as one of 5 s,
/// and the ones to come are short. Newer ones count more. All times in nanoseconds.
package struct IterationTime: Sendable {
  /// What the hand-over adds to the last iteration beside a round trip: the guest's state, ready, commit. What a state
  /// takes is not known before; this is what a small one does.
  package static let handOver: UInt64 = 250_000

  /// What an iteration that was counted before counts when another comes.
  private static let memory = 0.5
  /// An iteration of at least so many pages that takes so many times what was expected, or that much less, begins anew.
  private static let telling = 256
  private static let surprise = 1.8
  /// What is known before anything was measured: a round trip and some work. It counts for little.
  private static let firstGuess: Double = 200_000
  private static let firstWeight = 0.05

  private let roundTrip: Double
  /// Sums of weights, pages, pages squared, times, and pages times time.
  private typealias Sums = (one: Double, pages: Double, squares: Double, times: Double, products: Double)
  private var sums: Sums
  /// Of an iteration without pages.
  package private(set) var fixed: Double
  package private(set) var perPage = 0.0

  /// - Parameter roundTrip: to the destination and back.
  package init(roundTrip: UInt64) {
    self.roundTrip = Double(min(roundTrip, 10_000_000_000))
    fixed = self.roundTrip + Self.firstGuess
    sums = Self.begin(self.roundTrip)
  }

  private static func begin(_ roundTrip: Double) -> Sums {
    let guess = roundTrip + firstGuess
    let weight = firstWeight / (guess * guess)
    return (weight, 0, 0, weight * guess, 0)
  }

  /// Notes an iteration.
  package mutating func note(pages: Int, nanoseconds: UInt64) {
    let time = max(1000, Double(nanoseconds))
    let count = Double(pages)
    let weight = 1 / (time * time)
    // What is quite another matter (the bulk stage, another codec, another link) says nothing about what comes.
    let expected = self.time(pages)
    let isSurprise = pages >= Self.telling && perPage > 0 && max(time / expected, expected / time) > Self.surprise
    if isSurprise { sums = Self.begin(roundTrip) }
    let old = Self.memory
    sums = (
      sums.one * old + weight, sums.pages * old + weight * count, sums.squares * old + weight * count * count,
      sums.times * old + weight * time, sums.products * old + weight * count * time
    )
    let determinant = sums.one * sums.squares - sums.pages * sums.pages
    if determinant > 1e-9 * sums.one * sums.squares {
      perPage = (sums.one * sums.products - sums.pages * sums.times) / determinant
      fixed = (sums.times - perPage * sums.pages) / sums.one
    }
    // No iteration is faster than the way there and back, and none gets shorter by pages.
    if fixed < roundTrip || perPage < 0 {
      fixed = min(max(fixed, roundTrip), time)
      perPage = sums.squares > 0 ? max(0, (sums.products - fixed * sums.pages) / sums.squares) : 0
    }
  }

  /// What an iteration of `pages` would take.
  package func time(_ pages: Int) -> Double { fixed + Double(pages) * perPage }
}
