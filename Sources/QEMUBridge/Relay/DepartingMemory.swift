// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import Lanes
import PageModel
import Synchronization

/// Pages between a hypervisor's stream and the lanes: the newest version of each that is not at the destination yet.
///
/// The stream's thread stores pages in a pool, which makes them pending; lanes read them like a running guest's (what is
/// overwritten while it is read is pending again and goes once more); what the destination has confirmed is given back. So
/// a version that is overtaken by a newer one is never sent, and what this takes is what is under way, not what the guest
/// has.
@safe final class DepartingMemory: @unchecked Sendable {
  let blocks: BlockTable
  /// What lanes read.
  let pool: PagePool
  /// What lanes are to send.
  let pending: [SpanMap]
  /// Stored since the last ``collect(for:)``.
  private let incoming: [SpanMap]
  private let touched = Mutex<[SpanPlace]>([])
  /// Whether pages stay after they were confirmed: for a stream with deltas of its own.
  let keepsAll: Bool
  /// The stream's thread only.
  private var hand = PagePool.Hand()
  /// Where several threads store pages: who stores pages of a span, or gives it back, is alone with it.
  private let locks: SpanLocks?
  /// Spans that may be given back, with the iteration that sent them, oldest first.
  private let retired = Mutex<[(iteration: UInt32, spans: [SpanPlace])]>([])
  /// The iteration that each span was last part of. Written by ``collect(for:)``.
  @safe private let lastIteration: UnsafeMutablePointer<Atomic<UInt32>>
  private let firstSpan: [Int]
  /// Versions that were overtaken before they were sent.
  let supersededPages = Atomic<UInt64>(0)

  /// A span of a block.
  struct SpanPlace {
    var block: Int32
    var span: Int32
  }

  /// - Parameter isShared: several threads store pages, with ``store(block:page:_:_:)`` and ``alone(block:page:_:)``.
  init(_ blocks: BlockTable, keepsAll: Bool, isShared: Bool = false) throws(GuestMemoryError) {
    locks = isShared ? SpanLocks() : nil
    self.blocks = blocks
    self.keepsAll = keepsAll
    pool = try PagePool(blocks)
    pending = blocks.blocks.map { SpanMap(block: $0) }
    incoming = blocks.blocks.map { SpanMap(block: $0) }
    var first = 0
    firstSpan = blocks.blocks.map { block in
      defer { first += block.spanCount }
      return first
    }
    lastIteration = .allocate(capacity: max(1, first))
    for index in 0..<first { unsafe (lastIteration + index).initialize(to: Atomic(0)) }
  }

  deinit { unsafe lastIteration.deallocate() }

  /// Bytes of pages that are here.
  var heldByteCount: Int { pool.heldByteCount }

  // MARK: The stream's thread

  /// Where a page lies, to be written whole; ``noteStored(block:page:)`` follows.
  @unsafe func place(block: Int, page: Int) -> UnsafeMutableRawBufferPointer {
    unsafe pool.place(block: block, page: page, &hand)
  }

  /// Where a page lies, with what it holds, to be changed; ``noteStored(block:page:)`` follows.
  @unsafe func placeToChange(block: Int, page: Int) -> UnsafeMutableRawBufferPointer {
    let isHeld = pool.holds(block: block, page: page)
    let place = unsafe place(block: block, page: page)
    if !isHeld { _ = unsafe place.initializeMemory(as: UInt8.self, repeating: 0) }
    return unsafe place
  }

  /// A page was written: it is to be sent.
  /// - Returns: whether nothing was waiting before.
  func noteStored(block: Int, page: Int) -> Bool { announce(block, page / PageGeometry.pagesPerSpan, page) }

  /// A page is zero from now on.
  /// - Returns: whether nothing was waiting before.
  func clear(block: Int, page: Int) -> Bool {
    pool.clear(block: block, page: page)
    return announce(block, page / PageGeometry.pagesPerSpan, page)
  }

  var isShared: Bool { locks != nil }

  /// Calls `body` while no other thread stores a page of the same span, or gives it back.
  func alone<Result, Failure: Error>(
    block: Int, page: Int, _ body: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    guard let locks else { return try body() }
    return try locks.with(block: block, span: page / PageGeometry.pagesPerSpan, body)
  }

  /// Stores a page; any thread. Nil: zeros.
  /// - Parameter hand: that thread's.
  /// - Returns: whether nothing was waiting before.
  func store(
    block: Int, page: Int, _ content: UnsafeRawBufferPointer?, _ hand: inout PagePool.Hand
  ) -> Bool {
    alone(block: block, page: page) {
      guard let content = unsafe content else { return clear(block: block, page: page) }
      unsafe pool.place(block: block, page: page, &hand).copyMemory(from: content)
      return noteStored(block: block, page: page)
    }
  }

  private func announce(_ block: Int, _ span: Int, _ page: Int) -> Bool {
    // Pairs with the fence in collect(): who takes the bit sees the page.
    atomicMemoryFence(ordering: .releasing)
    let before = incoming[block].add(bit(page), span: span)
    if before & bit(page) != 0 { supersededPages.add(1, ordering: .relaxed) }
    guard before == 0 else { return false }
    return touched.withLock { spans in
      spans.append(SpanPlace(block: Int32(block), span: Int32(span)))
      return spans.count == 1
    }
  }

  private func bit(_ page: Int) -> PageMask { 1 << PageMask(page % PageGeometry.pagesPerSpan) }

  /// Gives back what was sent with iterations up to `confirmed`, and not stored again since.
  func release(upTo confirmed: UInt32) {
    guard !keepsAll else { return }
    while true {
      let next = retired.withLock { retired -> [SpanPlace]? in
        guard let first = retired.first, first.iteration <= confirmed else { return nil }
        retired.removeFirst()
        return first.spans
      }
      guard let next else { return }
      for place in next {
        let (block, span) = (Int(place.block), Int(place.span))
        if let locks {
          locks.with(block: block, span: span) { giveBack(block, span, confirmed) }
        } else {
          giveBack(block, span, confirmed)
        }
      }
    }
  }

  /// Gives a span back, unless something of it waits or is under way.
  private func giveBack(_ block: Int, _ span: Int, _ confirmed: UInt32) {
    // Only this thread, which is the stream's or has the span's lock, makes its pages incoming: what is not now stays so
    // until this returns. Looked at first: who has taken them meanwhile had said before with which iteration they go.
    guard incoming[block].pages(span: span) == 0 else { return }
    atomicMemoryFence(ordering: .acquiring)
    guard iteration(block, span) <= confirmed else { return }
    pool.giveBack(block: block, span: span)
  }

  private func iteration(_ block: Int, _ span: Int) -> UInt32 {
    lastIteration[firstSpan[block] + span].load(ordering: .acquiring)
  }

  // MARK: The thread that begins iterations

  /// Whether something was stored since the last iteration was begun.
  var hasNews: Bool { touched.withLock { !$0.isEmpty } }

  /// Makes pending what was stored since the last time.
  /// - Returns: pages.
  func collect(for iteration: UInt32) -> Int {
    let spans = touched.withLock { spans in
      defer { spans = [] }
      return spans
    }
    guard !spans.isEmpty else { return 0 }
    var count = 0
    for place in spans {
      let (block, span) = (Int(place.block), Int(place.span))
      // Before the bits are taken: see release().
      lastIteration[firstSpan[block] + span].store(iteration, ordering: .relaxed)
      atomicMemoryFence(ordering: .sequentiallyConsistent)
      let pages = incoming[block].take(span: span)
      pending[block].insert(pages, span: span)
      count += pages.nonzeroBitCount
    }
    atomicMemoryFence(ordering: .acquiring)
    if !keepsAll { retired.withLock { $0.append((iteration, spans)) } }
    return count
  }
}

/// Locks for spans: some share one.
@safe private final class SpanLocks: Sendable {
  private final class Lock: Sendable {
    let mutex = Mutex(())
  }

  private let locks = (0..<256).map { _ in Lock() }

  func with<Result, Failure: Error>(
    block: Int, span: Int, _ body: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let result: Swift.Result<Result, Failure> = locks[(span &+ block &* 37) & 255].mutex.withLock { _ in
      do throws(Failure) { return .success(try body()) } catch { return .failure(error) }
    }
    return try result.get()
  }
}

/// The log of a guest whose writes come in a stream: what is pending was made so as it came.
final class RelayLog: DirtyLog {
  var method: String { "migration stream" }
  func start() throws(GuestMemoryError) {}
  func sync(into pending: [SpanMap]) throws(GuestMemoryError) {}
  func rearm(block: Int, spans: Range<Int>) throws(GuestMemoryError) -> StripeMasks { StripeMasks(repeating: 0) }
  func stop() {}
}
