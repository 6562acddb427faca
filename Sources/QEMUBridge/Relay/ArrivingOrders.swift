// SPDX-License-Identifier: Apache-2.0
import Migration
import Wire

/// What the other half and its lanes have said, as orders for ``ArrivingStream``: bytes of the stream wait here until the
/// pages are there that come before them. One thread's.
struct ArrivingOrders {
  /// Messages that may wait for pages, and bytes of the stream that may wait here: twice what a source lets out.
  static let waitingCountMax = 4096
  static let underWayMax: UInt64 = 512 << 20
  /// Iterations that the hypervisor may not have been told of: minutes of a source's, which pauses between them.
  static let untoldMax: UInt32 = 1 << 18

  private var marks: LaneMarks
  /// What waits for an iteration, in order.
  private var waiting: [(after: UInt32, order: ArrivingStream.Order)] = []
  /// What the hypervisor may have now.
  private var due: [ArrivingStream.Order] = []
  /// Bytes of the stream that have come.
  private(set) var relayed: UInt64 = 0

  /// - Parameter laneCount: as agreed on.
  init(laneCount: Int) { marks = LaneMarks(laneCount: laneCount) }

  /// The last iteration of which all pages are there.
  var complete: UInt32 { marks.complete }

  /// Messages that wait for pages.
  var waitingCount: Int { waiting.count }

  /// A lane has ended an iteration.
  /// - Returns: whether another iteration is complete.
  /// - Throws: if it was not that iteration's turn.
  mutating func note(lane: Int, iteration: UInt32) throws(MigrationFailure) -> Bool {
    guard let complete = try marks.note(lane, iteration) else { return false }
    due.append(.tell(iteration: complete))
    release()
    return true
  }

  /// Bytes of the stream have come.
  mutating func add(_ relay: ControlMessage.Relay) {
    relayed += UInt64(relay.bytes.count)
    waiting.append((relay.afterIteration, .pass(relay.bytes)))
    release()
  }

  /// Nothing more will come.
  mutating func end(after iteration: UInt32) {
    waiting.append((iteration, .end))
    release()
  }

  private mutating func release() {
    let count = waiting.prefix { $0.after <= marks.complete }.count
    due += waiting.prefix(count).map { $0.order }
    waiting.removeFirst(count)
  }

  /// What the hypervisor may have now and has not been given, in order.
  mutating func take() -> [ArrivingStream.Order] {
    defer { due = [] }
    return due
  }

  /// Refuses a peer that sends more than may be under way.
  /// - Parameter done: what the hypervisor has.
  func check(_ done: ArrivingStream.Done, peer: String) throws(MigrationFailure) {
    guard relayed - done.passed <= Self.underWayMax, waiting.count <= Self.waitingCountMax,
      complete - done.iteration <= Self.untoldMax
    else {
      throw MigrationFailure(.protocolViolation, "\(peer) sends a stream ahead of its pages")
    }
  }
}
