// SPDX-License-Identifier: Apache-2.0
import GuestMemory
@_spi(Benchmarks) import Lanes
import PageModel
import SystemPackage

/// What is kept of a guest of some size, and an iteration's work on it: all but the pages.
struct MetadataRound: ~Copyable {
  /// The parts of an iteration, in their order.
  static let steps = ["insert", "count", "heat", "walk", "hashes", "cache"]

  let gibibytes: Int
  private let pending: SpanMap
  private let heat: SpanHeat
  private var lane: LaneMetadata
  /// What a sync finds: a word per span, and the same as page numbers.
  private let words: [UInt64]
  private let dirtyPages: [Int]
  private var round: UInt64 = 0

  /// - Parameters:
  ///   - dirtyShare: of pages that an iteration finds dirty, scattered all over memory.
  ///   - cacheShare: of memory that the delta cache may take.
  init(gibibytes: Int, dirtyShare: Double, cacheShare: Double) throws {
    let block = RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: UInt64(gibibytes) << 30)
    let table = try BlockTable([block])
    let lane = try LaneMetadata(
      pageCount: block.pageCount, cacheByteCount: Int(Double(block.byteCount) * cacheShare))
    var random = SeededGenerator(seed: UInt64(gibibytes))
    var words = [UInt64](repeating: 0, count: block.spanCount)
    var pages: [Int] = []
    // One page in every stretch of so many, at random.
    let stretch = max(1, Int(1 / dirtyShare))
    for start in stride(from: 0, to: block.pageCount, by: stretch) {
      let page = min(start + Int.random(in: 0..<stretch, using: &random), block.pageCount - 1)
      words[page / PageGeometry.pagesPerSpan] |= 1 << UInt64(page % PageGeometry.pagesPerSpan)
      pages.append(page)
    }
    self.gibibytes = gibibytes
    pending = SpanMap(block: block)
    heat = SpanHeat(table)
    self.lane = consume lane
    self.words = words
    dirtyPages = pages
  }

  /// Bytes of each kind, by name.
  var byteCounts: [(name: String, bytes: Int)] {
    [
      ("pending map", words.count * MemoryLayout<UInt64>.size), ("heat of spans", words.count),
      ("hashes", lane.hashByteCount), ("cache index", lane.indexByteCount),
    ]
  }

  /// Goes through an iteration.
  /// - Returns: nanoseconds of each of ``steps``.
  mutating func run() -> [Double] {
    round += 1
    lane.advance()
    var found = 0
    var times = [Double](repeating: 0, count: Self.steps.count)
    times[0] = Timing.duration {
      for span in words.indices where words[span] != 0 { pending.insert(words[span], span: span) }
    }
    times[1] = Timing.duration { found += pending.count() }
    times[2] = Timing.duration { found += heat.update(from: [pending]).cool }
    times[3] = Timing.duration {
      for span in 0..<pending.spanCount { found += pending.take(span: span).nonzeroBitCount }
    }
    let start = ContinuousClock.now
    found += lane.noteHashes(dirtyPages, hash: round)
    let middle = ContinuousClock.now
    found += lane.lookUp(dirtyPages)
    let end = ContinuousClock.now
    times[4] = (middle - start).nanoseconds
    times[5] = (end - middle).nanoseconds
    sink(UInt64(found))
    return times
  }
}

extension Duration {
  fileprivate var nanoseconds: Double { Double(components.seconds) * 1e9 + Double(components.attoseconds) / 1e9 }
}
