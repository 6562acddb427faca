// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import HostSystem
import PageKernels
import PageModel
import Workload

/// Guest memory for a cell: paused, or with a guest that writes to it.
struct Content {
  /// The name of a content that comes from a file.
  static let image = "image"

  private let mixes: [String: ContentMix]
  private let memory: UInt64
  private let seed: UInt64
  private let imagePath: String?
  /// Contents that are paused do not change: filled once.
  private var still: [String: StillGuest] = [:]

  /// - Parameters:
  ///   - names: mixes, or ``image``.
  ///   - memory: bytes of a guest, unless it comes from a file.
  init(names: [String], memory: UInt64, seed: UInt64, imagePath: String?) throws(WorkloadError) {
    var mixes: [String: ContentMix] = [:]
    for name in names where name != Self.image { mixes[name] = try ContentMix(parsing: name) }
    self.mixes = mixes
    self.memory = memory
    self.seed = seed
    self.imagePath = imagePath
  }

  /// The guest of a cell: one that is paused is kept, one that runs is new each time.
  mutating func guest(
    for cell: Cell, isCancelled: @escaping @Sendable () -> Bool
  ) throws(GuestMemoryError) -> any Guest {
    guard !cell.runs else { return try running(cell) }
    if let known = still[cell.content] { return known }
    let made = StillGuest(try cell.content == Self.image ? readImage(isCancelled) : fill(cell.content, isCancelled))
    still[cell.content] = made
    return made
  }

  /// The mix of a content; that of a file is taken for the usual one.
  func mix(_ name: String) -> ContentMix { mixes[name] ?? .standard }

  private static func blocks(_ byteCount: UInt64) throws(GuestMemoryError) -> BlockTable {
    do throws(BlockTableError) {
      return try BlockTable([RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: byteCount)])
    } catch { throw .badBlocks(error) }
  }

  /// Memory for a guest, unless this host has not as much to give.
  static func reserve(_ byteCount: UInt64) throws(GuestMemoryError) -> AnonymousMemory {
    if let available = HostMemory.availableByteCount, byteCount > available {
      throw .cannotReserve(
        byteCount: byteCount, reason: "only \(ByteCount.format(available)) is available on this host")
    }
    return try AnonymousMemory(blocks: try blocks(byteCount), populateAhead: false)
  }

  private func fill(
    _ name: String, _ isCancelled: @escaping @Sendable () -> Bool
  ) throws(GuestMemoryError) -> any SourceMemory {
    let made = try Self.reserve(memory)
    guard let content = try? WorkloadContent(mix: mix(name), seed: seed, byteCount: memory) else {
      throw .blocksDiffer(reason: "the mix \(name) cannot be filled in")
    }
    _ = try ContentWriter.fill(made, with: content, isCancelled: isCancelled)
    return Self.source(made)
  }

  private static func source(_ memory: AnonymousMemory) -> ProcessMemorySource {
    // SAFETY: the blocks stay mapped as long as the source, which keeps the memory.
    unsafe ProcessMemorySource(
      blocks: memory.blocks,
      bases: memory.blocks.blocks.indices.map { unsafe UnsafeRawPointer(memory.base(block: $0)) }, owner: memory)
  }

  /// The file's bytes in memory: a guest's are, and a disk is not what is to be measured.
  private func readImage(_ isCancelled: () -> Bool) throws(GuestMemoryError) -> any SourceMemory {
    let file = try ImageSource(path: imagePath ?? "", map: nil)
    let made = try Self.reserve(file.blocks.byteCount)
    guard var staging = try? PageBuffer(byteCount: PageGeometry.spanByteCount) else {
      throw .cannotReserve(byteCount: UInt64(PageGeometry.spanByteCount), reason: "mmap")
    }
    for span in 0..<file.blocks.spanCount(block: 0) where !isCancelled() {
      let wanted = file.blocks.pages(block: 0, span: span)
      let found = try staging.withMutableBytes(0..<PageGeometry.spanByteCount) { (bytes) throws(GuestMemoryError) in
        try file.snapshot(block: 0, span: span, wanted: wanted, into: &bytes)
      }
      guard found.copiedPageCount > 0 else { continue }
      try staging.withBytes(0..<found.copiedPageCount * PageGeometry.pageByteCount) { (data) throws(GuestMemoryError) in
        try made.store(data, block: 0, span: span, pages: wanted & ~found.zeroMask)
      }
    }
    return Self.source(made)
  }

  private func running(_ cell: Cell) throws(GuestMemoryError) -> any Guest {
    let made = try Self.reserve(memory)
    let log = try DirtyTracking.log(for: made)
    let plan = WorkloadPlan(
      pattern: .sparse, megabytesPerSecond: cell.dirtyRate, workingSetByteCount: Self.workingSet(memory), seed: seed,
      mix: mix(cell.content))
    guard let guest = try? WorkloadGuest(plan, memory: made, dirtyLog: log) else {
      throw .blocksDiffer(reason: "the workload does not fit the guest")
    }
    guest.fill()
    guest.start()
    return guest
  }

  /// An eighth of memory, in whole pages.
  static func workingSet(_ memory: UInt64) -> UInt64 { max(4096, memory / 8 / 4096 * 4096) }
}
