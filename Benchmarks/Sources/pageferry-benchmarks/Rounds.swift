// SPDX-License-Identifier: Apache-2.0
import HostSystem
import PageModel
import Synchronization

/// One way of going over memory that is too large for the caches.
struct Pass: Sendable {
  let label: String
  /// What `run` must return, summed over the threads; nil where that is not known.
  var expected: UInt64?
  /// Puts back what a pass has changed and empties the caches. Before each run, not timed.
  var prepare: @Sendable () -> Void = {}
  /// Goes over `pages` in the thread with this number; returns something that depends on every page.
  let run: @Sendable (_ pages: Range<Int>, _ thread: Int) -> UInt64
}

/// Wall-clock comparison of passes within one run: A B C, A B C, ...
enum Rounds {
  /// Runs every pass once to warm up, then `roundCount` times in turns.
  /// - Parameter threadCount: each thread takes an equal part of the pages, in whole spans.
  static func measure(_ passes: [Pass], pageCount: Int, threadCount: Int = 1, roundCount: Int) -> Samples {
    var rounds: [[Double]] = Array(repeating: [], count: passes.count)
    for number in 0...roundCount {
      for (index, pass) in passes.enumerated() {
        let taken = duration(pass, parts(of: pageCount, threadCount))
        if number > 0 { rounds[index].append(taken / Double(pageCount)) }
      }
    }
    return Samples(nanoseconds: rounds)
  }

  private static func parts(of pageCount: Int, _ threadCount: Int) -> [Range<Int>] {
    let spanCount = (pageCount + PageGeometry.pagesPerSpan - 1) / PageGeometry.pagesPerSpan
    return (0..<threadCount).map { number in
      let start = spanCount * number / threadCount * PageGeometry.pagesPerSpan
      let end = spanCount * (number + 1) / threadCount * PageGeometry.pagesPerSpan
      return min(start, pageCount)..<min(end, pageCount)
    }
  }

  /// Nanoseconds from before the first thread starts until the last one has ended.
  private static func duration(_ pass: Pass, _ parts: [Range<Int>]) -> Double {
    pass.prepare()
    let tally = Tally()
    let start = HostClock.now()
    let others = parts.indices.dropFirst().map { thread in
      HostThread(name: "pass-\(thread)") { tally.add(pass.run(parts[thread], thread)) }
    }
    tally.add(pass.run(parts[0], 0))
    for thread in others { thread.join() }
    let end = HostClock.now()
    if let expected = pass.expected, tally.sum != expected {
      fatalError("\(pass.label): found \(tally.sum) instead of \(expected)")
    }
    return Double(end - start)
  }
}

/// What the threads of a pass found, added up.
private final class Tally: Sendable {
  private let total = Atomic<UInt64>(0)
  var sum: UInt64 { total.load(ordering: .relaxed) }
  func add(_ found: UInt64) { total.wrappingAdd(found, ordering: .relaxed) }
}

/// The rounds of several passes.
struct Samples {
  /// Of one page: by pass, then by round.
  let nanoseconds: [[Double]]

  func median(_ pass: Int) -> Double { Timing.median(nanoseconds[pass]) }

  /// How many times as fast as pass `reference`: the median of each round's ratio.
  func speedUp(_ pass: Int, over reference: Int) -> Double {
    Timing.median(zip(nanoseconds[reference], nanoseconds[pass]).map { $0 / $1 })
  }
}
