// SPDX-License-Identifier: Apache-2.0
import Convergence
import TestSupport
import Testing

@testable import Migration

@Suite("The switchover test of forecasts")
struct SwitchoverModelTests {
  @Test("It decides as the engine's does, whatever happens", arguments: [1, 2, 3] as [UInt64])
  func agree(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    for _ in 0..<200 {
      let limit = UInt64.random(in: 1_000_000...2_000_000_000, using: &generator)
      let roundTrip = UInt64.random(in: 10_000...100_000_000, using: &generator)
      var engine = SwitchoverTest(limit: limit, roundTrip: roundTrip)
      var model = SwitchoverModel(limit: limit, roundTrip: roundTrip)
      var pages = Int.random(in: 0...1_000_000, using: &generator)
      for _ in 0..<20 {
        let nanoseconds = UInt64.random(in: 0...10_000_000_000, using: &generator)
        engine.note(pages: pages, nanoseconds: nanoseconds)
        model.note(pages: pages, nanoseconds: nanoseconds)
        pages = pages * Int.random(in: 10...120, using: &generator) / 100
        let hot = Int.random(in: 0...pages, using: &generator)
        let sync = UInt64.random(in: 0...10_000_000, using: &generator)
        let wanted = engine.decide(hot: hot, cool: pages - hot, sync: sync)
        let found = model.decide(hot: hot, cool: pages - hot, sync: sync)
        #expect("\(found)" == "\(wanted)" && model.expected == engine.expected, "seed \(seed)")
      }
    }
  }
}
