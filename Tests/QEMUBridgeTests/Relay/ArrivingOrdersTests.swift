// SPDX-License-Identifier: Apache-2.0
import Migration
import TestSupport
import Testing
import Wire

@testable import QEMUBridge

@Suite("What a destination's hypervisor gets, and when")
struct ArrivingOrdersTests {
  private static func bytes(_ orders: [ArrivingStream.Order]) -> [UInt8] {
    orders.flatMap { order -> [UInt8] in if case .pass(let bytes) = order { bytes } else { [] } }
  }

  @Test("Bytes come in the order in which they were said, each as soon as its pages are there", arguments: 1...5)
  func order(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    var orders = ArrivingOrders(laneCount: 3)
    var marks: [UInt32] = [0, 0, 0]
    var said: [UInt32] = []
    var got: [UInt8] = []
    for number in 0..<200 {
      if Bool.random(using: &random) {
        let lane = Int.random(in: 0..<3, using: &random)
        marks[lane] += 1
        _ = try orders.note(lane: lane, iteration: marks[lane])
      } else {
        said.append(UInt32.random(in: 0...30, using: &random))
        orders.add(.init(afterIteration: said.last ?? 0, bytes: [UInt8(said.count - 1)]))
      }
      got += Self.bytes(orders.take())
      let complete = marks.min() ?? 0
      let due = said.firstIndex { $0 > complete } ?? said.count
      #expect(got == (0..<due).map { UInt8($0) }, "step \(number), seed \(seed)")
      #expect(orders.complete == complete && orders.waitingCount == said.count - due)
    }
  }

  @Test("An empty message is no end: what follows is still passed on")
  func empty() {
    var orders = ArrivingOrders(laneCount: 1)
    for bytes in [[], [7]] as [[UInt8]] { orders.add(.init(afterIteration: 0, bytes: bytes)) }
    orders.end(after: 0)
    let kinds = orders.take().map { order in
      switch order {
      case .tell: "tell"
      case .pass(let bytes): "\(bytes)"
      case .end: "end"
      case .stop: "stop"
      }
    }
    #expect(kinds == ["[]", "[7]", "end"])
  }

  @Test("More than may wait is refused: messages, bytes, iterations that were not told")
  func bounds() throws {
    let nothing = ArrivingStream.Done()
    var messages = ArrivingOrders(laneCount: 1)
    for _ in 0..<ArrivingOrders.waitingCountMax { messages.add(.init(afterIteration: 1, bytes: [])) }
    try messages.check(nothing, peer: "peer")
    messages.end(after: 1)
    #expect(throws: MigrationFailure.self) { try messages.check(nothing, peer: "peer") }

    var bytes = ArrivingOrders(laneCount: 1)
    let piece = [UInt8](repeating: 0, count: 1 << 20)
    while bytes.relayed < ArrivingOrders.underWayMax {
      bytes.add(.init(afterIteration: 0, bytes: piece))
      _ = bytes.take()
    }
    try bytes.check(nothing, peer: "peer")
    bytes.add(.init(afterIteration: 0, bytes: [0]))
    #expect(throws: MigrationFailure.self) { try bytes.check(nothing, peer: "peer") }
    try bytes.check(.init(passed: 1), peer: "peer")

    var iterations = ArrivingOrders(laneCount: 1)
    for iteration in 1...ArrivingOrders.untoldMax { _ = try iterations.note(lane: 0, iteration: iteration) }
    try iterations.check(nothing, peer: "peer")
    _ = try iterations.note(lane: 0, iteration: ArrivingOrders.untoldMax + 1)
    #expect(throws: MigrationFailure.self) { try iterations.check(nothing, peer: "peer") }
    try iterations.check(.init(iteration: 1), peer: "peer")
  }
}
