// SPDX-License-Identifier: Apache-2.0
import Synchronization
import Wire

/// The lanes that feed a channel now. A lane enters and leaves by itself, while its ring is empty; any thread looks.
@safe final class LaneSet: @unchecked Sendable {
  private static let wordCount = WireLimits.laneCountMax / UInt64.bitWidth
  private let words: UnsafeMutablePointer<Atomic<UInt64>>

  /// A set of none.
  init() {
    unsafe words = .allocate(capacity: Self.wordCount)
    for index in 0..<Self.wordCount { unsafe (words + index).initialize(to: Atomic(0)) }
  }

  deinit {
    unsafe words.deinitialize(count: Self.wordCount)
    unsafe words.deallocate()
  }

  private func word<Result>(of lane: Int, _ body: (borrowing Atomic<UInt64>, UInt64) -> Result) -> Result {
    let (index, bit) = lane.quotientAndRemainder(dividingBy: UInt64.bitWidth)
    precondition(lane >= 0 && index < Self.wordCount, "no such lane")
    // SAFETY: in bounds by the precondition; atomics may be used from any thread.
    return unsafe body(words[index], 1 << UInt64(bit))
  }

  /// The lane feeds this channel from now on: what it did before is visible to who finds it here.
  func insert(_ lane: Int) { word(of: lane) { word, bit in _ = word.bitwiseOr(bit, ordering: .releasing) } }

  /// The lane feeds another from now on; before it publishes there.
  func remove(_ lane: Int) { word(of: lane) { word, bit in _ = word.bitwiseAnd(~bit, ordering: .relaxed) } }

  /// Acquiring: pairs with the release in ``insert(_:)``.
  func contains(_ lane: Int) -> Bool { word(of: lane) { word, bit in word.load(ordering: .acquiring) & bit != 0 } }

  /// Calls `body` with the lanes, ascending, until it says that it has found what it was looking for. Who comes or goes
  /// meanwhile may be among them or not.
  /// - Returns: whether it has.
  func contains(where body: (Int) -> Bool) -> Bool {
    for index in 0..<Self.wordCount {
      var left = unsafe words[index].load(ordering: .relaxed)
      while left != 0 {
        if body(index * UInt64.bitWidth + left.trailingZeroBitCount) { return true }
        left &= left - 1
      }
    }
    return false
  }
}
