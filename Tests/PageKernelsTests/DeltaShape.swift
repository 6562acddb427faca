// SPDX-License-Identifier: Apache-2.0
import TestSupport

/// How a page was changed since it was sent.
enum DeltaShape: CaseIterable, Sendable {
  case unchanged, oneByte, fewBytes, manyBytes, words, counters, blocks, runs, longRuns, alternating, random

  /// A page, and what it was changed into.
  func pair(using generator: inout SeededGenerator) -> (base: [UInt8], page: [UInt8]) {
    let base = SamplePages.page([.zero, .random, .text].randomElement(using: &generator) ?? .zero, using: &generator)
    var page = base
    change(&page, using: &generator)
    return (base, page)
  }

  private func change(_ page: inout [UInt8], using generator: inout SeededGenerator) {
    switch self {
    case .unchanged: break
    case .oneByte: scatter(1, &page, &generator)
    case .fewBytes: scatter(Int.random(in: 2...40, using: &generator), &page, &generator)
    case .manyBytes: scatter(Int.random(in: 41...3000, using: &generator), &page, &generator)
    case .words:
      for _ in 0..<Int.random(in: 1...40, using: &generator) {
        let at = 8 * Int.random(in: 0..<512, using: &generator)
        for byte in at..<at + 8 { page[byte] = UInt8.random(in: 0...255, using: &generator) }
      }
    case .counters:
      for at in stride(from: 8 * Int.random(in: 0...31, using: &generator), to: 4096, by: 256) { page[at] &+= 1 }
    case .blocks:
      for _ in 0..<Int.random(in: 1...4, using: &generator) {
        let at = Int.random(in: 0..<4096, using: &generator)
        invert(at..<min(4096, at + Int.random(in: 64...1024, using: &generator)), &page)
      }
    case .runs: turns(upTo: 40, &page, &generator)
    case .longRuns: turns(upTo: 400, &page, &generator)
    case .alternating:
      for at in stride(from: Int.random(in: 0...1, using: &generator), to: 4096, by: 2) { page[at] ^= 1 }
    case .random: page = SamplePages.page(.random, using: &generator)
    }
  }

  private func scatter(_ count: Int, _ page: inout [UInt8], _ generator: inout SeededGenerator) {
    for _ in 0..<count {
      page[Int.random(in: 0..<4096, using: &generator)] ^= UInt8.random(in: 1...255, using: &generator)
    }
  }

  private func invert(_ range: Range<Int>, _ page: inout [UInt8]) {
    for at in range { page[at] = ~page[at] }
  }

  /// Runs that differ and runs that do not, in turns.
  private func turns(upTo longest: Int, _ page: inout [UInt8], _ generator: inout SeededGenerator) {
    var at = Int.random(in: 0...longest, using: &generator)
    while at < 4096 {
      let end = min(4096, at + Int.random(in: 1...longest, using: &generator))
      invert(at..<end, &page)
      at = end + Int.random(in: 1...longest, using: &generator)
    }
  }
}
