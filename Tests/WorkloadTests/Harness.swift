// SPDX-License-Identifier: Apache-2.0
import Glibc
import GuestMemory
import PageModel

@testable import Workload

let pageByteCount = PageGeometry.pageByteCount

/// Memory of a small guest, whose bytes a test can look at and damage.
struct TestMemory: Sendable {
  let memory: AnonymousMemory

  /// Blocks of these numbers of pages.
  init(_ pageCounts: [Int] = [300, 7, 400]) throws {
    let blocks = pageCounts.enumerated().map { index, pageCount in
      RAMBlock(
        name: "ram\(index)", guestPhysicalBase: UInt64(index) << 32, byteCount: UInt64(pageCount * pageByteCount))
    }
    memory = try AnonymousMemory(
      blocks: try BlockTable(blocks), populateAhead: false, backing: .anonymous(hugePages: false))
  }

  var pageCount: Int { memory.blocks.pageCount }

  /// All memory, block after block.
  var bytes: [UInt8] {
    get {
      var bytes: [UInt8] = []
      for (index, block) in memory.blocks.blocks.enumerated() {
        // SAFETY: the block has this many bytes.
        unsafe bytes += UnsafeRawBufferPointer(start: memory.base(block: index), count: Int(block.byteCount))
      }
      return bytes
    }
    nonmutating set {
      var offset = 0
      for (index, block) in memory.blocks.blocks.enumerated() {
        let count = Int(block.byteCount)
        let room = unsafe UnsafeMutableRawBufferPointer(start: memory.base(block: index), count: count)
        unsafe room.copyBytes(from: newValue[offset..<offset + count])
        offset += count
      }
    }
  }

  /// One page, by its number over all blocks.
  subscript(page: Int) -> [UInt8] {
    get { unsafe Array(UnsafeRawBufferPointer(start: address(page), count: pageByteCount)) }
    nonmutating set {
      precondition(newValue.count == pageByteCount, "a page is 4096 bytes")
      let room = unsafe UnsafeMutableRawBufferPointer(start: address(page), count: pageByteCount)
      unsafe room.copyBytes(from: newValue)
    }
  }

  private func address(_ page: Int) -> UnsafeMutableRawPointer {
    var block = 0
    var rest = page
    while rest >= memory.blocks.pageCount(block: block) {
      rest -= memory.blocks.pageCount(block: block)
      block += 1
    }
    return unsafe memory.base(block: block) + rest * pageByteCount
  }

  /// Pages whose bytes differ from `other`.
  func pagesThatDiffer(from other: [UInt8]) -> [Int] {
    unsafe other.withUnsafeBytes { other in
      guard let there = other.baseAddress else { return [] }
      // SAFETY: `other` is as long as all memory.
      return (0..<pageCount).filter { unsafe memcmp(address($0), there + $0 * pageByteCount, pageByteCount) != 0 }
    }
  }
}

extension WorkloadPlan {
  /// Of the standard test guest, pages 100 to 499: parts of the first and the last block, and the one between.
  static func small(_ pattern: WorkloadPattern, rate: Double = 0, threads: Int = 2, seed: UInt64) -> WorkloadPlan {
    WorkloadPlan(
      pattern: pattern, megabytesPerSecond: rate, workingSetOffset: UInt64(100 * pageByteCount),
      workingSetByteCount: UInt64(400 * pageByteCount), threadCount: threads, seed: seed)
  }
}

extension WorkloadGuest {
  /// Lets the guest run until it has written this many pages more, each thread a few of them; it is paused then.
  func run(untilWrites more: UInt64) throws {
    let before = statistics.writes == 0 ? Array(repeating: 0, count: plan.threadCount) : writesByThread
    try resume()
    while !zip(writesByThread, before).allSatisfy({ $0 >= $1 + more / 20 + 1 })
      || writesByThread.reduce(0, +) < before.reduce(0, +) + more
    { usleep(500) }
    try pause()
  }

  /// Fills memory, and runs until this many pages were written; it is paused then.
  static func begun(_ plan: WorkloadPlan, _ memory: TestMemory, writes: UInt64) throws -> WorkloadGuest {
    let guest = try WorkloadGuest(plan, memory: memory.memory)
    guest.fill()
    guest.start()
    try guest.run(untilWrites: writes)
    return guest
  }
}

let writingPatterns: [WorkloadPattern] = [.sparse, .pages, .sequential, .hot, .growing(seconds: 1)]
