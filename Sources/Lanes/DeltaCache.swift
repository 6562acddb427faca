// SPDX-License-Identifier: Apache-2.0
import HostSystem
import PageModel
import SystemPackage

/// Copies of pages as they were sent last: what deltas are made against. One per lane, and the lane's alone.
///
/// Set-associative, eight ways, one cache line of tags to a set. What stays is decided by iterations, not by accesses,
/// which makes it proof against scans and against sets of hot pages that are larger than the cache:
/// - a page of the bulk stage is *on probation*: it takes a free place or none, and gives it to any page that was
///   dirtied again;
/// - a page that was used in this iteration or the one before is never replaced.
///
/// So a bulk pass flushes nothing, and when the hot set does not fit, as much of it as fits stays and is hit in every
/// iteration, where LRU would miss every time. (QEMU protects a page for two iterations as well, in one way.)
@safe struct DeltaCache: ~Copyable {
  static let wayCount = 8

  /// Bytes that a page takes: itself and its tag.
  static let pageByteCount = PageGeometry.pageByteCount + MemoryLayout<UInt64>.size

  /// What is known of a place: a page's number plus one (0: free), and how it is used.
  private struct Entry {
    var word: UInt64
    private static let numberMask: UInt64 = (1 << 40) - 1
    private static let probation: UInt64 = 1 << 40

    init(word: UInt64) { self.word = word }

    init(page: Int, iteration: UInt32, onProbation: Bool) {
      word = UInt64(page + 1) | (onProbation ? Self.probation : 0) | UInt64(UInt16(truncatingIfNeeded: iteration)) << 48
    }

    var isFree: Bool { word & Self.numberMask == 0 }
    var page: Int { Int(word & Self.numberMask) - 1 }
    var onProbation: Bool { word & Self.probation != 0 }

    /// Iterations since it was used, modulo 2¹⁶.
    func age(at iteration: UInt32) -> UInt16 {
      UInt16(truncatingIfNeeded: iteration) &- UInt16(truncatingIfNeeded: word >> 48)
    }
  }

  private var pages: PageBuffer
  private let entries: UnsafeMutablePointer<UInt64>
  private let setCount: Int
  /// Pages that are in it.
  private(set) var count = 0

  /// Pages that it can hold.
  var capacity: Int { setCount * Self.wayCount }

  /// Bytes that it takes once full.
  var byteCount: Int { capacity * Self.pageByteCount }

  /// An empty cache of at most `byteCount` bytes; nil if that is not a set's worth (32 KiB).
  /// - Parameter node: that its memory prefers; nil: none.
  init?(byteCount: Int, node: Int? = nil) throws(Errno) {
    let sets = byteCount / (Self.wayCount * Self.pageByteCount)
    guard sets > 0 else { return nil }
    // An odd number of sets: strides of powers of two then use all of them, as consecutive pages do.
    let setCount = sets > 1 ? (sets - 1) | 1 : 1
    let capacity = setCount * Self.wayCount
    // Touched first by the lane, page by page: memory is used as pages come in, on the lane's node.
    pages = try PageBuffer(byteCount: capacity * PageGeometry.pageByteCount, hugePages: true, node: node)
    unsafe entries = .allocate(capacity: capacity)
    unsafe entries.initialize(repeating: 0, count: capacity)
    self.setCount = setCount
  }

  deinit { unsafe entries.deallocate() }

  private func entry(_ slot: Int) -> Entry {
    // SAFETY: slots come from this cache, below its capacity.
    unsafe Entry(word: entries[slot])
  }

  /// The place of a page, or nil if it is not here.
  func slot(of page: Int) -> Int? {
    let first = page % setCount * Self.wayCount
    for slot in first..<first + Self.wayCount where entry(slot).page == page { return slot }
    return nil
  }

  /// The copy in a place.
  mutating func withPage<Result, Failure: Error>(
    _ slot: Int, _ body: (inout MutableRawSpan) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let offset = slot * PageGeometry.pageByteCount
    return try pages.withMutableBytes(offset..<offset + PageGeometry.pageByteCount, body)
  }

  /// Notes that a page was dirtied again and found here.
  mutating func use(_ slot: Int, iteration: UInt32) {
    unsafe entries[slot] = Entry(page: entry(slot).page, iteration: iteration, onProbation: false).word
  }

  /// A place for a page that is not here.
  struct Vacancy {
    var slot: Int
    /// The page that has to go, whose copy is still there.
    var evicted: Int?
  }

  /// Where to put a page, or nil if every place of its set is better used.
  /// - Parameter isHot: whether the page was dirtied, rather than met for the first time.
  func vacancy(for page: Int, iteration: UInt32, isHot: Bool) -> Vacancy? {
    let first = page % setCount * Self.wayCount
    var best: (slot: Int, age: UInt16)?
    for slot in first..<first + Self.wayCount {
      let entry = entry(slot)
      if entry.isFree { return Vacancy(slot: slot) }
      guard isHot else { continue }
      let age = entry.onProbation ? .max : entry.age(at: iteration)
      if age > 1, age > best?.age ?? 1 { best = (slot, age) }
    }
    return best.map { Vacancy(slot: $0.slot, evicted: entry($0.slot).page) }
  }

  /// Gives a place to a page, whose copy the caller then writes.
  mutating func occupy(_ vacancy: Vacancy, page: Int, iteration: UInt32, isHot: Bool) {
    if vacancy.evicted == nil { count += 1 }
    unsafe entries[vacancy.slot] = Entry(page: page, iteration: iteration, onProbation: !isHot).word
  }

  /// Gives as many of its pages as fit to another cache, those on probation last.
  /// - Parameters:
  ///   - next: an empty one, or none.
  ///   - dropped: called with each page that did not fit, and its copy.
  consuming func move(to next: inout DeltaCache?, iteration: UInt32, dropped: (Int, RawSpan) -> Void) {
    for probation in [false, true] {
      for slot in 0..<capacity {
        let old = entry(slot)
        guard !old.isFree, old.onProbation == probation else { continue }
        withPage(slot) { copy in
          guard next?.adopt(old.page, copy.bytes, iteration: iteration, isHot: !probation) == true else {
            return dropped(old.page, copy.bytes)
          }
        }
      }
    }
  }

  private mutating func adopt(_ page: Int, _ copy: RawSpan, iteration: UInt32, isHot: Bool) -> Bool {
    guard let vacancy = vacancy(for: page, iteration: iteration, isHot: false) else { return false }
    occupy(vacancy, page: page, iteration: iteration, isHot: isHot)
    withPage(vacancy.slot) { $0.copyBytes(of: copy) }
    return true
  }
}
