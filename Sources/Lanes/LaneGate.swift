// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Synchronization

/// Lets only so many lanes work at a time. With no limit below the number of lanes, it costs one load per stripe.
final class LaneGate: Sendable {
  private let laneCount: Int
  private let limit: Atomic<Int>
  private let inside = Atomic<Int>(0)
  private let room = ParkingSpot()

  init(laneCount: Int) {
    self.laneCount = laneCount
    limit = Atomic(laneCount)
  }

  /// Changes how many lanes may work; any thread. Lanes follow with their next stripe.
  func set(_ count: Int) {
    limit.store(max(1, count), ordering: .relaxed)
    room.wake()
  }

  /// Called by a lane between two stripes.
  /// - Parameter isInside: whether the lane is counted; kept by the lane.
  func pass(_ isInside: inout Bool, isStopped: () -> Bool) {
    let allowed = limit.load(ordering: .relaxed)
    if isInside {
      // Somebody must wait: whoever finds too many inside goes out.
      guard inside.load(ordering: .relaxed) > allowed else { return }
      leave(&isInside)
    } else if allowed >= laneCount {
      return
    }
    _ = room.wait { self.enter(&isInside) || isStopped() }
  }

  /// The lane has nothing to do for now.
  func leave(_ isInside: inout Bool) {
    guard isInside else { return }
    isInside = false
    inside.subtract(1, ordering: .relaxed)
    room.wake()
  }

  /// Wakes lanes that wait, because the pipeline stops.
  func wake() { room.wake() }

  private func enter(_ isInside: inout Bool) -> Bool {
    var count = inside.load(ordering: .relaxed)
    while count < limit.load(ordering: .relaxed) {
      let (exchanged, found) = inside.weakCompareExchange(expected: count, desired: count + 1, ordering: .relaxed)
      if exchanged {
        isInside = true
        return true
      }
      count = found
    }
    return false
  }
}
