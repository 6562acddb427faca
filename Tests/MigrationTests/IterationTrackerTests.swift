// SPDX-License-Identifier: Apache-2.0
import Lanes
import Testing
import Wire

@testable import Migration

@Suite struct IterationTrackerTests {
  private func applied(zero: UInt64, data: UInt64) -> ReceivingStatistics {
    var statistics = ReceivingStatistics()
    statistics.zeroPages = zero
    statistics.dataPages = data
    return statistics
  }

  private func end(_ iteration: UInt32, zero: UInt64, data: UInt64) -> ControlMessage.IterationEnd {
    .init(iteration: iteration, zeroPageCount: zero, dataPageCount: data, deltaPageCount: 0)
  }

  @Test(
    "An iteration is complete with the last mark or the source's count, whichever comes last", arguments: [0, 1, 2])
  func anyOrder(marksBefore: Int) throws {
    var tracker = IterationTracker(laneCount: 2)
    try tracker.begin(.init(iteration: 1, pageCount: 3))
    for lane in 0..<marksBefore { try tracker.laneDone(lane, iteration: 1, applied: applied(zero: 1, data: 2)) }
    try tracker.end(end(1, zero: 1, data: 2), applied: applied(zero: 1, data: 2))
    #expect(tracker.isComplete == (marksBefore == 2))
    for lane in marksBefore..<2 { try tracker.laneDone(lane, iteration: 1, applied: applied(zero: 1, data: 2)) }
    #expect(tracker.isComplete)
    #expect(tracker.completed == 1)
  }

  @Test("A page that was sent and did not arrive is noticed")
  func lostPage() throws {
    var tracker = IterationTracker(laneCount: 1)
    try tracker.begin(.init(iteration: 1, pageCount: 3))
    try tracker.laneDone(0, iteration: 1, applied: applied(zero: 1, data: 1))
    #expect(throws: MigrationFailure.self) {
      try tracker.end(end(1, zero: 1, data: 2), applied: applied(zero: 1, data: 1))
    }
  }

  @Test("A lane's mark counts once, and only for a lane that there is", arguments: [0, 2, 65535])
  func strangeMarks(lane: Int) throws {
    var tracker = IterationTracker(laneCount: 2)
    try tracker.begin(.init(iteration: 1, pageCount: 0))
    try tracker.laneDone(0, iteration: 1, applied: applied(zero: 0, data: 0))
    #expect(throws: MigrationFailure.self) {
      try tracker.laneDone(lane, iteration: 1, applied: applied(zero: 0, data: 0))
    }
  }

  @Test("Iterations come one after the other")
  func order() throws {
    var tracker = IterationTracker(laneCount: 1)
    #expect(!tracker.isComplete)
    #expect(throws: MigrationFailure.self) { try tracker.begin(.init(iteration: 2, pageCount: 0)) }
    try tracker.begin(.init(iteration: 1, pageCount: 0))
    #expect(throws: MigrationFailure.self) { try tracker.begin(.init(iteration: 2, pageCount: 0)) }
    #expect(throws: MigrationFailure.self) { try tracker.laneDone(0, iteration: 2, applied: applied(zero: 0, data: 0)) }
    #expect(throws: MigrationFailure.self) {
      try tracker.end(end(2, zero: 0, data: 0), applied: applied(zero: 0, data: 0))
    }
  }
}
