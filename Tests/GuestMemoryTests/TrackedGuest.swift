// SPDX-License-Identifier: Apache-2.0
import Glibc
import PageModel
import Testing

@testable import GuestMemory

/// A way to track writes, as the tests go through them.
enum LogKind: String, CaseIterable, CustomTestStringConvertible {
  case asynchronous
  /// With a userfaultfd that needs no privilege.
  case asynchronousUnprivileged
  case synchronous
  /// As Linux 5.19 has it: what was never touched cannot be protected, and is populated first.
  case synchronousPopulated

  var testDescription: String { rawValue }

  /// Those that this kernel allows; says of the others that they are not tested.
  static let available: [LogKind] = allCases.filter { kind in
    do throws(TrackingRefusal) {
      _ = try kind.choice()
      return true
    } catch {
      print("NOT TESTED: tracking of writes, \(kind): \(error)")
      return false
    }
  }

  var isSynchronous: Bool { self == .synchronous || self == .synchronousPopulated }

  func choice() throws(TrackingRefusal) -> DirtyTracking.Choice {
    var support = TrackingSupport.probe()
    switch self {
    case .asynchronous: return .asynchronous(try support.asynchronous())
    case .asynchronousUnprivileged:
      support.full = support.userOnly
      return .asynchronous(try support.asynchronous())
    case .synchronous: return .synchronous(try support.synchronous(isShared: true))
    case .synchronousPopulated:
      var offer = try support.synchronous(isShared: true)
      offer.features = offer.features & ~0x2000
      return .synchronous(offer)
    }
  }

  func log(for memory: AnonymousMemory) throws -> any MarkableDirtyLog {
    switch try choice() {
    case .asynchronous(let offer):
      return try WriteProtectLog(TrackedBlocks(memory), access: offer.access, isZeroFilled: true)
    case .synchronous(let offer):
      return try FaultLog(
        TrackedBlocks(memory), access: offer.access, features: offer.features, isZeroFilled: true)
    }
  }
}

/// What the memory of a test's guest is made of.
enum MemoryShape: String, CaseIterable, CustomTestStringConvertible {
  case small, huge, memfd

  var testDescription: String { rawValue }

  var backing: AnonymousMemory.Backing {
    switch self {
    case .small: .anonymous(hugePages: false)
    case .huge: .anonymous(hugePages: true)
    case .memfd: .memfd
    }
  }
}

/// The conditions of every test that needs the kernel's help.
let trackingIsPossible = ConditionTrait.enabled(
  if: !LogKind.available.isEmpty, "NOT TESTED: this kernel lets this process track no writes (see the reasons above)")

/// A guest that does what a test tells it, and its log.
@safe final class TrackedGuest: @unchecked Sendable {
  let memory: AnonymousMemory
  let log: any MarkableDirtyLog

  init(_ shape: MemoryShape, _ kind: LogKind, pageCounts: [Int]) throws {
    let table = try BlockTable(
      pageCounts.enumerated().map { index, count in
        RAMBlock(
          name: "ram\(index)", guestPhysicalBase: UInt64(index) << 40, byteCount: UInt64(count * pageByteCount))
      })
    memory = try AnonymousMemory(blocks: table, populateAhead: false, backing: shape.backing)
    log = try kind.log(for: memory)
  }

  var blocks: BlockTable { memory.blocks }
  var emptyMaps: [SpanMap] { blocks.blocks.map { SpanMap(block: $0) } }

  /// A word of a page, as the guest sees it.
  func word(block: Int, page: Int, _ index: Int = 0) -> UnsafeMutablePointer<UInt64> {
    precondition(page < blocks.pageCount(block: block) && index < 512)
    let base = unsafe memory.base(block: block) + page * pageByteCount
    return unsafe base.assumingMemoryBound(to: UInt64.self) + index
  }

  func write(_ value: UInt64 = 1, block: Int, page: Int, word index: Int = 0) {
    unsafe word(block: block, page: page, index).pointee = value
  }

  func read(block: Int, page: Int, word index: Int = 0) -> UInt64 {
    unsafe word(block: block, page: page, index).pointee
  }

  /// What the log says is dirty, per block.
  func synced() throws -> [Set<Int>] {
    let maps = emptyMaps
    try log.sync(into: maps)
    return maps.map { pages(of: $0) }
  }

  /// What a rearm of `spans` says was written.
  func rearmed(block: Int, spans: Range<Int>) throws -> Set<Int> {
    let masks = try log.rearm(block: block, spans: spans)
    var found: Set<Int> = []
    for (index, span) in spans.enumerated() { found.formUnion(pageNumbers(masks[index]).map { span * 64 + $0 }) }
    return found
  }

  /// What a peek at `spans` says was written; nil if the log cannot.
  func peeked(block: Int, spans: Range<Int>) throws -> Set<Int>? {
    guard let masks = try log.peek(block: block, spans: spans) else { return nil }
    var found: Set<Int> = []
    for (index, span) in spans.enumerated() { found.formUnion(pageNumbers(masks[index]).map { span * 64 + $0 }) }
    return found
  }

  /// The spans of each stripe of a block.
  func stripes(block: Int) -> [Range<Int>] {
    let count = blocks.spanCount(block: block)
    return stride(from: 0, to: count, by: 8).map { $0..<min($0 + 8, count) }
  }

  /// What a rearm of everything says was written, per block.
  func rearmed() throws -> [Set<Int>] {
    try blocks.blocks.indices.map { block in
      try stripes(block: block).reduce(into: []) { $0.formUnion(try rearmed(block: block, spans: $1)) }
    }
  }

  /// Has the kernel forget some pages.
  func discard(block: Int, pages: Range<Int>) {
    let status = unsafe madvise(
      word(block: block, page: pages.lowerBound), pages.count * pageByteCount, CInt(MADV_DONTNEED))
    precondition(status == 0)
  }
}
