// SPDX-License-Identifier: Apache-2.0
import PageModel
import TestSupport
import Testing

@Suite("Decimal numbers")
struct DecimalTests {
  @Test(
    "Numbers are rounded to the digits asked for",
    arguments: [
      (0, 0, "0"), (0, 2, "0.00"), (1, 2, "1.00"), (1.5, 0, "2"), (1.25, 1, "1.3"), (0.05, 1, "0.1"),
      (9.999, 2, "10.00"),
      (3.14159, 3, "3.142"), (1.05, 3, "1.050"), (-1.5, 1, "-1.5"), (-0.001, 2, "0.00"), (999_999.5, 0, "1000000"),
      (-12.04, 1, "-12.0"),
    ] as [(Double, Int, String)])
  func fixed(value: Double, digits: Int, expected: String) {
    #expect(Decimal.fixed(value, digits: digits) == expected)
  }

  @Test("What cannot be printed is a dash", arguments: [.nan, .infinity, -.infinity, 1e15, -1e15, 1e300])
  func dash(value: Double) {
    #expect(Decimal.fixed(value, digits: 2) == "–")
  }

  @Test("A number of thousandths is printed exactly", arguments: [21, 22] as [UInt64])
  func thousandths(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    for _ in 0..<2000 {
      let thousandths =
        Int.random(in: -(1 << 40)...(1 << 40), using: &generator) >> Int.random(in: 0..<40, using: &generator)
      let fraction = String(abs(thousandths) % 1000 + 1000).dropFirst()
      let expected = "\(thousandths < 0 ? "-" : "")\(abs(thousandths) / 1000).\(fraction)"
      #expect(Decimal.fixed(Double(thousandths) / 1000, digits: 3) == expected, "\(thousandths), seed \(seed)")
    }
  }
}
