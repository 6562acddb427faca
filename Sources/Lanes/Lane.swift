// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import PageModel
import Synchronization

/// One lane's walk over its stripes: takes pending pages, and has them read into frames.
///
/// Belongs to the lane's thread.
final class Lane {
  private let number: Int
  private let memory: any SourceMemory
  private let pending: [SpanMap]
  private let assignment: LaneAssignment
  private let assembler: FrameAssembler
  private let reader: any SpanReader
  private let counters: LaneCounters
  private let isStopped: @Sendable () -> Bool
  private let gate: LaneGate
  /// Whether the lane counts as one that works.
  private var isInside = false
  /// Of a guest that runs.
  private let live: Live?
  private var iteration = Iteration(number: 0, kind: .bulk)
  /// Pages of the spans that this iteration leaves for last.
  private var deferredPageCount = 0
  /// Of memory that does not change: where the lane walks.
  private let stillLegs: [StillWalk.Leg]

  struct Live {
    let log: any DirtyLog
    let heat: SpanHeat
    let sample: DirtySample?
    let reader: LiveReader
  }

  /// Which spans a walk takes.
  private enum Pass {
    /// All of them.
    case everything
    /// Those that are not hot.
    case cool
    /// Those that are left.
    case rest
  }

  init(
    number: Int, memory: any SourceMemory, pending: [SpanMap], assignment: LaneAssignment, assembler: FrameAssembler,
    reader: any SpanReader, counters: LaneCounters, gate: LaneGate, isStopped: @escaping @Sendable () -> Bool,
    live: Live?
  ) {
    self.gate = gate
    self.number = number
    self.memory = memory
    self.pending = pending
    self.assignment = assignment
    self.assembler = assembler
    self.reader = reader
    self.counters = counters
    self.isStopped = isStopped
    self.live = live
    stillLegs = live == nil ? StillWalk(lane: number, blocks: memory.blocks, assignment: assignment).legs : []
  }

  /// Sends the lane's share of an iteration.
  /// - Returns: false if the pipeline was stopped.
  func run(_ iteration: Iteration) throws(LaneError) -> Bool {
    defer { gate.leave(&isInside) }
    self.iteration = iteration
    deferredPageCount = 0
    assembler.begin(iteration: iteration.number)
    reader.begin(iteration)
    guard let live else {
      guard try walkStill() else { return false }
      return try assembler.endIteration()
    }
    guard iteration.kind != .last, iteration.kind != .mixed else {
      guard try walk(.everything) else { return false }
      return try assembler.endIteration()
    }
    if case .again = iteration.kind { live.reader.fit(hotPageCount: pendingPageCount) }
    guard try walk(.cool) else { return false }
    counters.deferredPages.add(UInt64(deferredPageCount), ordering: .relaxed)
    if iteration.kind != .again(holdBack: true) {
      // Now it is known how much is being written: the cache is made to hold it before it is filled.
      if iteration.kind == .bulk { live.reader.fit(hotPageCount: deferredPageCount) }
      guard try walk(.rest) else { return false }
    }
    return try assembler.endIteration()
  }

  /// Pages of the lane that are pending.
  private var pendingPageCount: Int {
    var count = 0
    for block in pending.indices {
      let map = pending[block]
      for stripe in assignment.stripes(ofLane: number, block: block, spanCount: map.spanCount) {
        for span in spans(stripe, map) { count += map.pages(span: span).nonzeroBitCount }
      }
    }
    return count
  }

  private func spans(_ stripe: Int, _ map: SpanMap) -> Range<Int> {
    stripe..<min(stripe + PageGeometry.spansPerStripe, map.spanCount)
  }

  private func walk(_ pass: Pass) throws(LaneError) -> Bool {
    for block in pending.indices {
      let map = pending[block]
      for stripe in assignment.stripes(ofLane: number, block: block, spanCount: map.spanCount) {
        let spans = spans(stripe, map)
        gate.pass(&isInside, isStopped: isStopped)
        if isStopped() { return false }
        guard isWanted(spans, block, pass) else {
          if pass == .cool { for span in spans { deferredPageCount += map.pages(span: span).nonzeroBitCount } }
          continue
        }
        let written = try rearm(spans, block)
        for span in spans {
          guard try take(span, block, pass, written: written[span - stripe]) else { return false }
        }
      }
    }
    return true
  }

  /// Takes what no other lane has taken, all over memory that does not change.
  private func walkStill() throws(LaneError) -> Bool {
    for leg in stillLegs {
      let count = leg.stripes.count
      for number in 0..<count {
        gate.pass(&isInside, isStopped: isStopped)
        if isStopped() { return false }
        let stripe = leg.isDescending ? leg.stripes.upperBound - 1 - number : leg.stripes.lowerBound + number
        let spans = spans(stripe * PageGeometry.spansPerStripe, pending[leg.block])
        if number + 1 < count {
          let next = leg.isDescending ? stripe - 1 : stripe + 1
          memory.prefetch(block: leg.block, span: next * PageGeometry.spansPerStripe)
        }
        for span in spans where pending[leg.block].pages(span: span) != 0 {
          guard try take(span, leg.block, .everything, written: 0) else { return false }
        }
      }
    }
    return true
  }

  /// Whether a stripe has pages for this pass.
  private func isWanted(_ spans: Range<Int>, _ block: Int, _ pass: Pass) -> Bool {
    for span in spans where pending[block].pages(span: span) != 0 {
      guard pass == .cool, let live, iteration.kind != .bulk else { return true }
      if !live.heat.isHot(block: block, span: span) { return true }
    }
    return false
  }

  /// Clears the log of a stripe that is about to be read, as late as possible: what was written between the sync and
  /// now is read now, and is not dirty afterwards.
  private func rearm(_ spans: Range<Int>, _ block: Int) throws(LaneError) -> StripeMasks {
    guard let live, iteration.kind != .last, iteration.kind != .mixed else { return StripeMasks(repeating: 0) }
    do throws(GuestMemoryError) {
      let written = try live.log.rearm(block: block, spans: spans)
      if let sample = live.sample, sample.contains(block: block, span: spans.lowerBound) {
        var count = 0
        for index in 0..<spans.count { count += written[index].nonzeroBitCount }
        sample.note(count)
      }
      // Kept before anything is decided: the log has forgotten them.
      for span in spans where written[span - spans.lowerBound] != 0 {
        pending[block].insert(written[span - spans.lowerBound], span: span)
      }
      return written
    } catch { throw .memory(error) }
  }

  /// - Parameter written: the pages of the span that were written lately.
  private func take(_ span: Int, _ block: Int, _ pass: Pass, written: PageMask) throws(LaneError) -> Bool {
    if pass == .cool, let live {
      // All of it at once says little: a log that begins with everything set (KVM's may) reports no writes by that.
      let isWritten = written != 0 && written != memory.blocks.pages(block: block, span: span)
      let isHot = iteration.kind == .bulk ? isWritten : live.heat.isHot(block: block, span: span)
      if isHot {
        deferredPageCount += pending[block].pages(span: span).nonzeroBitCount
        return true
      }
    }
    // A log may be anybody's: pages past the end of the block are nobody's.
    let wanted = pending[block].take(span: span) & memory.blocks.pages(block: block, span: span)
    guard wanted != 0 else { return true }
    guard try assembler.prepare() else { return false }
    try reader.read(block: block, span: span, wanted: wanted, isHot: pass == .rest, into: assembler)
    return try assembler.closeIfFull()
  }
}
