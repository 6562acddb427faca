// SPDX-License-Identifier: Apache-2.0

/// Wall-clock comparison of a case's variants within one run.
///
/// Absolute times are the machine's; what holds elsewhere is the ratio of two variants that ran a millisecond apart.
enum Timing {
  private static let roundCount = 21
  /// Long enough that reading the clock and an interrupt do not matter, short enough that a round of all variants
  /// falls into one state of the machine.
  private static let roundDuration = Duration.milliseconds(3)

  /// What a variant took.
  struct Figure {
    let label: String
    /// Median over the rounds, for one operation.
    let nanoseconds: Double
    /// How much faster than the first variant: the median of each round's ratio.
    let speedUp: Double
  }

  /// Runs every variant of `one` that this machine can, round by round: A B C, A B C, ...
  static func measure(_ one: Case) throws -> [Figure] {
    let variants = try one.variants.filter(\.isAvailable).map { (label: $0.label, body: try $0.make()) }
    let times = variants.map { operationsPerRound($0.body) }
    var rounds: [[Double]] = Array(repeating: [], count: variants.count)
    for _ in 0..<roundCount {
      for (index, variant) in variants.enumerated() {
        rounds[index].append(duration(variant.body, times[index]) / Double(times[index]))
      }
    }
    return variants.enumerated().map { index, variant in
      Figure(
        label: variant.label, nanoseconds: median(rounds[index]),
        speedUp: median(zip(rounds[0], rounds[index]).map { $0 / $1 }))
    }
  }

  /// Doubles until a round is long enough; that also warms caches and clock frequency.
  private static func operationsPerRound(_ body: Body) -> Int {
    let wanted = nanoseconds(roundDuration)
    var times = 1
    while true {
      let taken = duration(body, times)
      if taken >= wanted / 4 { return max(1, Int(Double(times) * wanted / taken)) }
      times *= 2
    }
  }

  private static func duration(_ body: Body, _ times: Int) -> Double {
    duration { sink(body(times)) }
  }

  /// Nanoseconds that `body` takes.
  static func duration(_ body: () -> Void) -> Double {
    let start = ContinuousClock.now
    body()
    return nanoseconds(ContinuousClock.now - start)
  }

  private static func nanoseconds(_ duration: Duration) -> Double {
    Double(duration.components.seconds) * 1e9 + Double(duration.components.attoseconds) / 1e9
  }

  static func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
}
