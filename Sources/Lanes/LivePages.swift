// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import HostSystem
import PageKernels
import PageModel
import Synchronization
import SystemPackage

/// A lane's pages of a guest that runs, and what is remembered of them: what is in the delta cache is compared with its
/// copy there, the rest is copied and compared with the hash of what was sent last.
///
/// What this remembers of a page (a copy or a hash) describes exactly the bytes that were sent for it last: both are
/// taken from the snapshot, never from guest memory a second time.
struct LivePages: ~Copyable {
  private let memory: LiveMemory
  private let assignment: LaneAssignment
  private let counters: LaneCounters
  private let budget: CacheBudget
  private let seed: UInt64
  /// The node that the cache's memory prefers; nil: none.
  private let node: Int?
  private let pageCount: Int
  private var sent: SentHashes
  private var cache: DeltaCache?
  /// What the cache was last told to take.
  private var cacheByteCount = 0
  private var iteration = Iteration(number: 0, kind: .bulk)
  /// Of mixed iterations: pages that have come more than once, a bit each, and how many they are.
  private var repeated: [UInt64] = []
  private(set) var repeatedCount = 0

  init(
    lane: Int, memory: LiveMemory, assignment: LaneAssignment, counters: LaneCounters, budget: CacheBudget,
    seed: UInt64, node: Int?
  ) throws(LaneError) {
    self.memory = memory
    self.assignment = assignment
    self.counters = counters
    self.budget = budget
    self.seed = seed
    self.node = node
    pageCount = assignment.pageCount(ofLane: lane)
    do throws(Errno) { sent = try SentHashes(pageCount: pageCount) } catch { throw .noBuffers(error) }
  }

  mutating func begin(_ iteration: Iteration) {
    self.iteration = iteration
    if iteration.kind == .mixed, repeated.isEmpty { repeated = Array(repeating: 0, count: pageCount / 64 + 1) }
    if iteration.kind != .last { fit(hotPageCount: repeatedCount) }
  }

  /// A page has come that came before.
  private mutating func noteRepeated(_ page: Int) {
    let bit: UInt64 = 1 << UInt64(page & 63)
    guard repeated[page >> 6] & bit == 0 else { return }
    repeated[page >> 6] |= bit
    repeatedCount += 1
  }

  /// Makes the cache as large as it may be, or, if its size is to be measured, as the hot set needs.
  mutating func fit(hotPageCount: Int) {
    let wanted = budget.byteCount(hotPageCount: hotPageCount, lanePageCount: pageCount, last: cacheByteCount)
    guard wanted != cacheByteCount else { return }
    cacheByteCount = wanted
    // The old one lives on where there is no memory for a larger one: deltas are a help, not a need.
    var next: DeltaCache?
    do throws(Errno) { next = try DeltaCache(byteCount: wanted, node: node) } catch { return }
    if let old = cache.take() {
      old.move(to: &next, iteration: iteration.number) { page, copy in
        sent[page] = SentHashes.kept(PageHash.page(copy, seed: seed))
      }
    }
    cache = consume next
    counters.cachedPages.store(cache?.count ?? 0, ordering: .relaxed)
    counters.cacheByteCount.store(cache?.byteCount ?? 0, ordering: .relaxed)
  }

  mutating func read(
    block: Int, span: Int, wanted: PageMask, isHot: Bool, into frame: FrameAssembler
  ) {
    let started = HostClock.now()
    let first = assignment.pageNumber(block: block, span: span)
    let cached = pagesInCache(first, wanted)
    let isAgain = iteration.number > 1 && iteration.kind != .mixed
    if cached != 0 { compare(cached, block: block, span: span, first: first, frame) }
    let rest = wanted & ~cached
    if rest != 0 {
      if isAgain { counters.cacheMisses.add(UInt64(rest.nonzeroBitCount), ordering: .relaxed) }
      copy(rest, block: block, span: span, first: first, isHot: isHot || isAgain, frame)
    }
    counters.snapshotNanoseconds.add(HostClock.now() - started, ordering: .relaxed)
  }

  private func pagesInCache(_ first: Int, _ wanted: PageMask) -> PageMask {
    guard cache != nil else { return 0 }
    var found: PageMask = 0
    var rest = wanted
    while rest != 0 {
      let page = rest.trailingZeroBitCount
      if cache?.slot(of: first + page) != nil { found |= 1 << PageMask(page) }
      rest &= rest &- 1
    }
    return found
  }

  // MARK: Pages whose last copy is here

  /// Sends what changed in pages that are in the cache. A page that changed too much goes whole, from the cache: that
  /// is the copy which was compared.
  private mutating func compare(_ pages: PageMask, block: Int, span: Int, first: Int, _ frame: FrameAssembler) {
    var (delta, zero, data) = (PageMask(0), PageMask(0), PageMask(0))
    frame.withDeltas { deltas in
      var rest = pages
      while rest != 0 {
        let page = rest.trailingZeroBitCount
        let bit = PageMask(1) << PageMask(page)
        rest &= rest &- 1
        guard let slot = cache?.slot(of: first + page) else { continue }
        cache?.use(slot, iteration: iteration.number)
        if iteration.kind == .mixed { noteRepeated(first + page) }
        let outcome = memory.withPage(block: block, span: span, page: page) { now in
          cache?.withPage(slot) { deltas.add(updating: &$0, to: now) }
        }
        switch outcome ?? .unchanged {
        case .unchanged: break
        case .delta: delta |= bit
        case .overflow:
          if putFromCache(slot, behind: data.nonzeroBitCount, frame) { data |= bit } else { zero |= bit }
        }
      }
    }
    counters.cacheHits.add(UInt64(pages.nonzeroBitCount), ordering: .relaxed)
    counters.cacheOverflows.add(UInt64((data | zero).nonzeroBitCount), ordering: .relaxed)
    counters.unchangedPages.add(UInt64((pages & ~(delta | zero | data)).nonzeroBitCount), ordering: .relaxed)
    counters.zeroPages.add(UInt64(zero.nonzeroBitCount), ordering: .relaxed)
    frame.note(block: block, span: span, zero: zero, data: data, delta: delta)
  }

  /// Puts the cached copy of a page into the frame.
  /// - Parameter count: pages of this span that are in front of it.
  /// - Returns: false if the page is zero: then nothing was put.
  private mutating func putFromCache(_ slot: Int, behind count: Int, _ frame: FrameAssembler) -> Bool {
    cache?.withPage(slot) { copy in
      let copy = copy.bytes
      if ZeroScan.isZero(page: copy) { return false }
      frame.withRoom(pages: count + 1) { room in
        var place = room._mutatingExtracting(count * PageGeometry.pageByteCount..<room.byteCount)
        place.copyBytes(of: copy)
      }
      return true
    } ?? false
  }

  // MARK: Pages of which only a hash is known, or nothing

  /// Copies pages, and sends those that are not what was sent last.
  private mutating func copy(
    _ pages: PageMask, block: Int, span: Int, first: Int, isHot: Bool, _ frame: FrameAssembler
  ) {
    let (zero, data) = frame.withRoom(pages: pages.nonzeroBitCount) { room -> (PageMask, PageMask) in
      var hashes = InlineArray<64, UInt64>(repeating: 0)
      var found = hashes.mutableSpan
      let result = memory.snapshot(
        block: block, span: span, wanted: pages, into: &room, hashes: &found, seed: seed)
      let zero = newlyZero(result.zeroMask, first)
      let known = iteration.kind == .mixed ? knownPages(pages & ~result.zeroMask, first) : isHot ? .max : 0
      let data = keepChanged(of: pages & ~result.zeroMask, first, hashes, in: &room)
      if iteration.kind != .last { remember(data, first, hot: known, room.bytes) }
      return (zero, data)
    }
    counters.zeroPages.add(UInt64(zero.nonzeroBitCount), ordering: .relaxed)
    counters.unchangedPages.add(UInt64((pages & ~(zero | data)).nonzeroBitCount), ordering: .relaxed)
    frame.note(block: block, span: span, zero: zero, data: data, delta: 0)
  }

  /// Those of the pages that came before.
  private mutating func knownPages(_ pages: PageMask, _ first: Int) -> PageMask {
    var known: PageMask = 0
    var rest = pages
    while rest != 0 {
      let page = rest.trailingZeroBitCount
      rest &= rest &- 1
      guard sent[first + page] != SentHashes.unknown else { continue }
      known |= 1 << PageMask(page)
      noteRepeated(first + page)
    }
    counters.cacheMisses.add(UInt64(known.nonzeroBitCount), ordering: .relaxed)
    return known
  }

  /// Those of the zero pages that were not sent as zero last.
  private mutating func newlyZero(_ pages: PageMask, _ first: Int) -> PageMask {
    var changed: PageMask = 0
    var rest = pages
    while rest != 0 {
      let page = rest.trailingZeroBitCount
      rest &= rest &- 1
      guard sent[first + page] != SentHashes.zero else { continue }
      sent[first + page] = SentHashes.zero
      changed |= 1 << PageMask(page)
    }
    return changed
  }

  /// Drops the copied pages that were sent like this before, and notes the hashes of the others.
  /// - Parameters:
  ///   - hashes: of the copies, in their order.
  ///   - room: the copies of `pages`, packed; afterwards those of the result.
  private mutating func keepChanged(
    of pages: PageMask, _ first: Int, _ hashes: borrowing InlineArray<64, UInt64>, in room: inout MutableRawSpan
  ) -> PageMask {
    var changed: PageMask = 0
    var keep: PageMask = 0
    var rest = pages
    var index = 0
    while rest != 0 {
      let page = rest.trailingZeroBitCount
      rest &= rest &- 1
      let hash = SentHashes.kept(hashes[index])
      if sent[first + page] != hash {
        sent[first + page] = hash
        changed |= 1 << PageMask(page)
        keep |= 1 << PageMask(index)
      }
      index += 1
    }
    if changed != pages { Snapshot.keep(keep, ofFirst: index, in: &room) }
    return changed
  }

  /// Takes copies of pages into the cache, where there is room for them.
  /// - Parameter hot: pages that were dirtied, rather than met for the first time.
  private mutating func remember(_ pages: PageMask, _ first: Int, hot: PageMask, _ copies: RawSpan) {
    guard cache != nil else { return }
    var rest = pages
    var offset = 0
    while rest != 0 {
      let page = first + rest.trailingZeroBitCount
      let isHot = hot & (rest & (0 &- rest)) != 0
      rest &= rest &- 1
      let copy = copies.extracting(offset..<offset + PageGeometry.pageByteCount)
      offset += PageGeometry.pageByteCount
      guard let vacancy = cache?.vacancy(for: page, iteration: iteration.number, isHot: isHot) else { continue }
      cache?.withPage(vacancy.slot) { place in
        // What goes is known by its hash from now on.
        if let evicted = vacancy.evicted { sent[evicted] = SentHashes.kept(PageHash.page(place.bytes, seed: seed)) }
        place.copyBytes(of: copy)
      }
      cache?.occupy(vacancy, page: page, iteration: iteration.number, isHot: isHot)
    }
    counters.cachedPages.store(cache?.count ?? 0, ordering: .relaxed)
  }
}
