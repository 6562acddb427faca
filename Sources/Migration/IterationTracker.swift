// SPDX-License-Identifier: Apache-2.0
import Lanes
import Wire

/// A destination's view of iterations: one is complete when every lane's mark has been applied, and what was applied
/// is what the source says it sent. Marks come on the data channels, the source's word on the control channel, in
/// any order.
struct IterationTracker {
  private let laneCount: Int
  private var lanesDone: Set<Int> = []
  private var announced: ControlMessage.IterationEnd?
  private var begun: UInt32 = 0
  /// The last iteration that is complete; 0 before the first.
  private(set) var completed: UInt32 = 0

  init(laneCount: Int) { self.laneCount = laneCount }

  /// Whether at least one iteration is complete and nothing is under way.
  var isComplete: Bool { begun > 0 && completed == begun }

  /// Whether the source has said all there is to say about what it has begun.
  var isAnnounced: Bool { isComplete || announced != nil }

  mutating func begin(_ begin: ControlMessage.IterationBegin) throws(MigrationFailure) {
    guard begin.iteration == begun + 1, completed == begun else {
      throw MigrationFailure(.protocolViolation, "iteration \(begin.iteration) began while \(begun) was under way")
    }
    begun = begin.iteration
  }

  /// Notes the source's count.
  mutating func end(
    _ end: ControlMessage.IterationEnd, applied: ReceivingStatistics
  ) throws(MigrationFailure) {
    guard end.iteration == begun, completed < begun else {
      throw MigrationFailure(.protocolViolation, "iteration \(end.iteration) ended while \(begun) was under way")
    }
    announced = end
    try settle(applied)
  }

  /// Notes a lane's mark. Marks may overtake the control channel by one iteration at most.
  mutating func laneDone(
    _ lane: Int, iteration: UInt32, applied: ReceivingStatistics
  ) throws(MigrationFailure) {
    guard iteration == completed + 1 else {
      throw MigrationFailure(.protocolViolation, "a lane ended iteration \(iteration) while \(begun) was under way")
    }
    guard lane < laneCount, lanesDone.insert(lane).inserted else {
      throw MigrationFailure(.protocolViolation, "lane \(lane) of \(laneCount) ended iteration \(iteration) unduly")
    }
    try settle(applied)
  }

  private mutating func settle(_ applied: ReceivingStatistics) throws(MigrationFailure) {
    guard let end = announced, lanesDone.count == laneCount else { return }
    guard end.zeroPageCount == applied.zeroPages, end.dataPageCount == applied.dataPages,
      end.deltaPageCount == applied.deltaPages
    else {
      throw MigrationFailure(
        .protocolViolation,
        "the source sent \(end.zeroPageCount) zero pages, \(end.dataPageCount) data pages and \(end.deltaPageCount) "
          + "deltas; \(applied.zeroPages), \(applied.dataPages) and \(applied.deltaPages) arrived")
    }
    lanesDone = []
    announced = nil
    completed = end.iteration
  }
}
