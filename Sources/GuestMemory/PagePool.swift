// SPDX-License-Identifier: Apache-2.0
import HostSystem
public import PageKernels
public import PageModel
import Synchronization
import SystemPackage

/// Guest memory of which only some pages are here, each in a slot of a pool; every other page reads as zeros.
///
/// What it takes is the most that was ever here at once: slots are used again, the last one first, while the caches still
/// have it. Pages that come and go cost no page faults, other than in memory that is laid out as the guest's.
///
/// Each page has one writer at a time, and any number of readers, who may read it while it is written.
@safe public final class PagePool: SourceMemory, @unchecked Sendable {
  public let blocks: BlockTable
  private let firstPage: [Int]
  /// The slot of each page; 0: zeros.
  @safe private let slots: UnsafeMutablePointer<Atomic<UInt32>>
  /// Slot 0 is never written.
  private let memory: MappedRange
  private let table: MappedRange
  private let vacant: Mutex<Vacant>
  private let held = Atomic<Int>(0)

  /// Threads that may take slots: those that read a stream of many channels.
  private static let handsMax = 512

  private struct Vacant {
    /// Slots that were given back.
    var slots: [UInt32] = []
    /// The first slot that was never used.
    var fresh: UInt32 = 1
  }

  /// Slots that one thread has taken in advance. A thread that takes slots has one.
  public struct Hand {
    fileprivate static let capacity = 64
    fileprivate var slots = InlineArray<64, UInt32>(repeating: 0)
    fileprivate var count = 0

    public init() {}
  }

  /// Maps address space for every page.
  /// - Throws: ``GuestMemoryError/cannotReserve(byteCount:reason:)``.
  public init(_ blocks: BlockTable) throws(GuestMemoryError) {
    var count = 0
    firstPage = blocks.blocks.map { block in
      defer { count += block.pageCount }
      return count
    }
    let byteCount = (count + 1 + Self.handsMax * Hand.capacity) * PageGeometry.pageByteCount
    guard byteCount / PageGeometry.pageByteCount <= Int(UInt32.max), let memory = MappedRange(byteCount: byteCount)
    else {
      throw .cannotReserve(byteCount: blocks.byteCount, reason: "mmap: \(Errno.noMemory)")
    }
    guard let table = MappedRange(byteCount: max(1, count) * MemoryLayout<Atomic<UInt32>>.stride) else {
      memory.unmap()
      throw .cannotReserve(byteCount: blocks.byteCount, reason: "mmap: \(Errno.noMemory)")
    }
    self.blocks = blocks
    self.memory = memory
    self.table = table
    // Zeroed memory is an atomic 0 in each place; untouched, it takes no room.
    slots = unsafe table.base.assumingMemoryBound(to: Atomic<UInt32>.self)
    vacant = Mutex(Vacant())
  }

  deinit {
    memory.unmap()
    table.unmap()
  }

  /// Bytes of pages that are here.
  public var heldByteCount: Int { held.load(ordering: .relaxed) * PageGeometry.pageByteCount }

  /// Slots that were ever used: what it takes, in pages.
  var slotCount: Int { vacant.withLock { Int($0.fresh) - 1 } }

  // MARK: Writing

  /// Whether a page is here.
  public func holds(block: Int, page: Int) -> Bool { unsafe slot(block, page).pointee.load(ordering: .relaxed) != 0 }

  /// Where a page lies, to be written whole: where it is already, or in a slot whose content is arbitrary.
  @unsafe public func place(block: Int, page: Int, _ hand: inout Hand) -> UnsafeMutableRawBufferPointer {
    let slot = unsafe slot(block, page)
    var number = unsafe slot.pointee.load(ordering: .relaxed)
    if number == 0 {
      if hand.count == 0 { refill(&hand) }
      hand.count -= 1
      number = hand.slots[hand.count]
      unsafe slot.pointee.store(number, ordering: .relaxed)
      held.add(1, ordering: .relaxed)
    }
    return unsafe UnsafeMutableRawBufferPointer(start: address(number), count: PageGeometry.pageByteCount)
  }

  /// Makes a page zero.
  public func clear(block: Int, page: Int) {
    // What is not here reads as zeros.
    let number = unsafe slot(block, page).pointee.load(ordering: .relaxed)
    guard number != 0 else { return }
    unsafe address(number).initializeMemory(as: UInt8.self, repeating: 0, count: PageGeometry.pageByteCount)
  }

  private func refill(_ hand: inout Hand) {
    vacant.withLock { vacant in
      while hand.count < Hand.capacity {
        if let slot = vacant.slots.popLast() {
          hand.slots[hand.count] = slot
        } else {
          // As many as pages, and what hands hold: pages are at most all here, and a hand's slots are nobody's.
          precondition(Int(vacant.fresh) < memory.byteCount / PageGeometry.pageByteCount, "a slot for each page")
          hand.slots[hand.count] = vacant.fresh
          vacant.fresh += 1
        }
        hand.count += 1
      }
    }
  }

  /// Gives back what is here of a span. Nobody may be reading it.
  /// - Returns: how many pages that were.
  @discardableResult public func giveBack(block: Int, span: Int) -> Int {
    let pages = firstPage[block] + span * PageGeometry.pagesPerSpan
    var count = 0
    var returned = InlineArray<64, UInt32>(repeating: 0)
    for page in 0..<blocks.pages(block: block, span: span).nonzeroBitCount {
      let slot = unsafe slots + pages + page
      let number = unsafe slot.pointee.load(ordering: .relaxed)
      guard number != 0 else { continue }
      unsafe slot.pointee.store(0, ordering: .relaxed)
      returned[count] = number
      count += 1
    }
    guard count > 0 else { return 0 }
    vacant.withLock { vacant in
      // The span's first page is the next to be used.
      for index in stride(from: count - 1, through: 0, by: -1) { vacant.slots.append(returned[index]) }
    }
    held.subtract(count, ordering: .relaxed)
    return count
  }

  // MARK: Reading

  /// Calls `body` with a page's bytes, which its writer may be changing.
  public func withPage<Result, Failure: Error>(
    block: Int, page: Int, _ body: (RawSpan) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    // SAFETY: slots are mapped as long as this object.
    try body(
      unsafe RawSpan(
        _unsafeStart: address(slot(block, page).pointee.load(ordering: .relaxed)),
        byteCount: PageGeometry.pageByteCount))
  }

  /// As ``Snapshot/take(span:wanted:into:tier:)``.
  public func snapshot(
    block: Int, span: Int, wanted: PageMask, into staging: inout MutableRawSpan
  ) throws(GuestMemoryError) -> Snapshot.Result {
    snapshot(block, span, wanted, into: &staging) { (page, _, room) in Snapshot.take(span: page, wanted: 1, into: &room)
    }
  }

  /// As ``Snapshot/take(span:wanted:into:hashes:seed:tier:)``.
  public func snapshot(
    block: Int, span: Int, wanted: PageMask, into staging: inout MutableRawSpan, hashes: inout MutableSpan<UInt64>,
    seed: UInt64
  ) -> Snapshot.Result {
    snapshot(block, span, wanted, into: &staging) { (page, index, room) in
      var hash = hashes._mutatingExtracting(index..<index + 1)
      return Snapshot.take(span: page, wanted: 1, into: &room, hashes: &hash, seed: seed)
    }
  }

  /// - Parameter take: takes one page: its bytes, its number among those that were copied, where its copy goes.
  @inline(__always)
  private func snapshot(
    _ block: Int, _ span: Int, _ wanted: PageMask, into staging: inout MutableRawSpan,
    _ take: (RawSpan, Int, inout MutableRawSpan) -> Snapshot.Result
  ) -> Snapshot.Result {
    var (zero, count) = (PageMask(0), 0)
    var rest = wanted
    while rest != 0 {
      let page = rest.trailingZeroBitCount
      rest &= rest &- 1
      let offset = count * PageGeometry.pageByteCount
      var room = staging._mutatingExtracting(offset..<offset + PageGeometry.pageByteCount)
      let result = withPage(block: block, page: span * PageGeometry.pagesPerSpan + page) { take($0, count, &room) }
      if result.zeroMask != 0 { zero |= 1 << PageMask(page) }
      count += result.copiedPageCount
    }
    return Snapshot.Result(zeroMask: zero, copiedPageCount: count)
  }

  public func presentPages(block: Int) throws(GuestMemoryError) -> SpanMap {
    let map = SpanMap(block: blocks.blocks[block])
    map.insert(pages: 0..<blocks.blocks[block].pageCount)
    return map
  }

  public func checkUnchanged() throws(GuestMemoryError) {}

  @unsafe private func slot(_ block: Int, _ page: Int) -> UnsafeMutablePointer<Atomic<UInt32>> {
    precondition(page >= 0 && page < blocks.pageCount(block: block), "a page outside its block")
    return unsafe slots + firstPage[block] + page
  }

  @unsafe private func address(_ slot: UInt32) -> UnsafeMutableRawPointer {
    unsafe memory.base + Int(slot) * PageGeometry.pageByteCount
  }
}
