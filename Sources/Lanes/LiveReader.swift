// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import PageModel

/// Reads the memory of a guest that runs: the lane's face of ``LivePages``.
final class LiveReader: SpanReader {
  // A value in one place: one check of exclusive access per span, none per page.
  private var pages: LivePages

  init(
    lane: Int, memory: LiveMemory, assignment: LaneAssignment, counters: LaneCounters, budget: CacheBudget,
    seed: UInt64, node: Int?
  ) throws(LaneError) {
    pages = try LivePages(
      lane: lane, memory: memory, assignment: assignment, counters: counters, budget: budget, seed: seed,
      node: node)
  }

  func begin(_ iteration: Iteration) { pages.begin(iteration) }

  /// Makes the cache as large as it may be, or, if its size is to be measured, as the hot set needs.
  func fit(hotPageCount: Int) { pages.fit(hotPageCount: hotPageCount) }

  func read(
    block: Int, span: Int, wanted: PageMask, isHot: Bool, into frame: FrameAssembler
  ) throws(LaneError) {
    pages.read(block: block, span: span, wanted: wanted, isHot: isHot, into: frame)
  }
}
