// SPDX-License-Identifier: Apache-2.0
import Convergence
import Foundation
import TestSupport
import Testing

@Suite("How many pages a guest dirties in a time")
struct DirtyCurveTests {
  private static let random = DirtyCurve.random(pagesPerSecond: 50_000, workingSet: 32_768)
  private static let sequential = DirtyCurve.sequential(pagesPerSecond: 50_000, workingSet: 32_768)
  private static let both = DirtyCurve.sum([random, sequential])

  private static func measured(_ curve: DirtyCurve, _ times: [Double], limit: Double = 262_144) -> DirtyCurve {
    .measured(times.map { .init(seconds: $0, pages: curve.pages(in: $0)) }, limit: limit)
  }

  private static let times = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2]

  @Test("Every curve starts at nothing, never falls, and never exceeds its limit")
  func monotone() {
    let noisy = DirtyCurve.measured(
      [
        .init(seconds: 3, pages: 90), .init(seconds: 1, pages: 100), .init(seconds: 2, pages: 400),
        .init(seconds: .nan, pages: 1), .init(seconds: -1, pages: 7), .init(seconds: 0.5, pages: .infinity),
      ], limit: 300)
    for curve in [Self.random, Self.sequential, Self.both, Self.measured(Self.random, Self.times), noisy, .idle] {
      var before = 0.0
      #expect(curve.pages(in: 0) == 0 && curve.pages(in: -1) == 0)
      for step in 1...400 {
        let pages = curve.pages(in: Double(step) * Double(step) * 0.001)
        #expect(pages >= before && pages <= curve.limit && pages <= curve.workingSet * 1.0001, "step \(step)")
        before = pages
      }
      #expect(abs(curve.pages(in: 1e9) - curve.workingSet) <= 1e-6 * max(1, curve.workingSet))
    }
    #expect(noisy.pages(in: 2) == 300 && noisy.pages(in: 1) == 100)
  }

  @Test("Writers at random and in sequence, as their formulas have it; sums add up")
  func formulas() {
    #expect(abs(Self.random.pages(in: 0.5) - 32_768 * (1 - exp(-25_000 / 32_768))) < 1e-6)
    #expect(Self.sequential.pages(in: 0.5) == 25_000 && Self.sequential.pages(in: 1) == 32_768)
    #expect(Self.random.initialRate == 50_000 && Self.random.workingSet == 32_768)
    #expect(abs(Self.both.pages(in: 0.5) - Self.random.pages(in: 0.5) - 25_000) < 1e-6)
    #expect(Self.both.initialRate == 100_000 && Self.both.workingSet == 65_536)
    #expect(DirtyCurve.idle.initialRate == 0 && DirtyCurve.idle.workingSet == 0)
  }

  @Test("A throttled guest does the same in more time, and has the same working set")
  func scaled() {
    for curve in [Self.random, Self.sequential, Self.both, Self.measured(Self.random, Self.times)] {
      let slow = curve.scaled(by: 0.25)
      for time in [0.01, 0.3, 2, 50] { #expect(abs(slow.pages(in: time * 4) - curve.pages(in: time)) < 1e-6) }
      #expect(abs(slow.initialRate - curve.initialRate / 4) < 1e-6 && slow.workingSet == curve.workingSet)
      #expect(curve.scaled(by: 0).pages(in: 100) == 0)
    }
  }

  @Test("Measured points are met, and what lies between and beyond is near the truth", arguments: [0.5, 1, 4])
  func extrapolates(speed: Double) {
    let truth = Self.random.scaled(by: speed)
    let curve = Self.measured(truth, Self.times)
    for time in Self.times { #expect(abs(curve.pages(in: time) - truth.pages(in: time)) < 1e-6) }
    for time in [0.15, 0.3, 0.6, 1.2, 2.4, 5, 10, 100] {
      let (found, wanted) = (curve.pages(in: time), truth.pages(in: time))
      #expect(abs(found - wanted) < 0.06 * wanted, "\(time) s: \(found), not \(wanted)")
    }
    // Only the beginning was seen: the working set must not be taken for nothing, nor for all of memory.
    let early = Self.measured(truth, [0.1, 0.2, 0.4])
    #expect(early.workingSet > 0.7 * truth.workingSet && early.workingSet < 1.4 * truth.workingSet)
  }

  @Test("Growth that does not fade goes on, up to the guest's memory")
  func unbounded() {
    let curve = Self.measured(.sequential(pagesPerSecond: 1000, workingSet: 1e9), Self.times, limit: 20_000)
    #expect(abs(curve.pages(in: 10) - 10_000) < 1)
    #expect(curve.pages(in: 1000) == 20_000 && curve.workingSet == 20_000)
  }

  @Test("The mean over windows is the curve's integral")
  func mean() {
    for curve in [Self.random, Self.sequential, Self.both] {
      for time in [0.05, 0.6, 4.0] {
        let steps = 20_000
        let sum = (0..<steps).reduce(0.0) { $0 + curve.pages(in: time * (Double($1) + 0.5) / Double(steps)) }
        let wanted = sum / Double(steps)
        #expect(abs(curve.meanPages(in: time) - wanted) < 0.01 * wanted, "\(time) s")
      }
    }
    #expect(Self.sequential.meanPages(from: 0.2, to: 0.2) == 10_000)
  }
}
