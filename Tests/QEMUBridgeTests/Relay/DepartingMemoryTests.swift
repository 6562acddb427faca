// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import HostSystem
import PageModel
import Synchronization
import TestSupport
import Testing

@testable import QEMUBridge

@Suite("Pages between a hypervisor's stream and the lanes")
struct DepartingMemoryTests {
  private static func memory(keepsAll: Bool = false, isShared: Bool = false) throws -> DepartingMemory {
    try DepartingMemory(
      try BlockTable([
        RAMBlock(name: "a", guestPhysicalBase: 0, byteCount: 1 << 20),
        RAMBlock(name: "b", guestPhysicalBase: 1 << 20, byteCount: 5 * 4096),
      ]), keepsAll: keepsAll, isShared: isShared)
  }

  private static func store(_ memory: DepartingMemory, _ block: Int, _ page: Int, _ value: UInt8) -> Bool {
    unsafe memory.place(block: block, page: page).initializeMemory(as: UInt8.self, repeating: value)
    return memory.noteStored(block: block, page: page)
  }

  private static func byte(_ memory: DepartingMemory, _ block: Int, _ page: Int) -> UInt8 {
    memory.pool.withPage(block: block, page: page) {
      unsafe $0.unsafeLoad(fromByteOffset: 77, as: UInt8.self)
    }
  }

  @Test("Only what was stored is pending, once, with the newest content")
  func newest() throws {
    let memory = try Self.memory()
    #expect(Self.store(memory, 0, 70, 1))
    #expect(!Self.store(memory, 0, 70, 2))
    #expect(!memory.clear(block: 1, page: 4))
    #expect(memory.supersededPages.load(ordering: .relaxed) == 1)
    #expect(memory.collect(for: 1) == 2)
    #expect(memory.pending[0].pages(span: 1) == 1 << 6 && memory.pending[1].pages(span: 0) == 1 << 4)
    #expect(Self.byte(memory, 0, 70) == 2)
    #expect(memory.collect(for: 2) == 0)
  }

  @Test("What is confirmed is given back, but not what has come since, nor what is under way")
  func release() throws {
    let memory = try Self.memory()
    for page in 0..<200 { _ = Self.store(memory, 0, page, 9) }
    _ = memory.collect(for: 1)
    _ = Self.store(memory, 0, 3, 8)
    _ = Self.store(memory, 0, 130, 7)
    memory.release(upTo: 0)
    #expect(memory.heldByteCount == 200 * 4096)
    // Spans 0 and 2 have news; 1 and 3 are done.
    memory.release(upTo: 1)
    #expect(memory.heldByteCount == 128 * 4096)
    #expect(Self.byte(memory, 0, 64) == 0 && Self.byte(memory, 0, 3) == 8 && Self.byte(memory, 0, 130) == 7)
    #expect(Self.byte(memory, 0, 0) == 9)
    _ = memory.collect(for: 2)
    memory.release(upTo: 1)
    #expect(Self.byte(memory, 0, 130) == 7)
    memory.release(upTo: 2)
    #expect(memory.heldByteCount == 0 && Self.byte(memory, 0, 130) == 0)
  }

  @Test("A page that was cleared reads as zeros, whether it was held or not; kept memory stays")
  func zeros() throws {
    let memory = try Self.memory(keepsAll: true)
    _ = Self.store(memory, 0, 1, 5)
    _ = memory.collect(for: 1)
    memory.release(upTo: 1)
    #expect(memory.pool.holds(block: 0, page: 1) && Self.byte(memory, 0, 1) == 5)
    _ = memory.clear(block: 0, page: 1)
    #expect(Self.byte(memory, 0, 1) == 0)
    #expect(!memory.pool.holds(block: 0, page: 2))
  }

  @Test(
    "A reader that takes what is pending sees the last version of every page, while the stream goes on",
    arguments: [1, 2, 3] as [UInt64])
  func races(seed: UInt64) throws {
    let memory = try Self.memory()
    let confirmed = Atomic<UInt32>(0)
    let isDone = Atomic<Bool>(false)
    // What the reader has seen last of each page.
    nonisolated(unsafe) var seen = [UInt8](repeating: 0, count: 256)
    let reader = HostThread(name: "test-lane") {
      var iteration: UInt32 = 0
      while true {
        let last = isDone.load(ordering: .acquiring)
        if memory.collect(for: iteration + 1) > 0 {
          iteration += 1
          for span in 0..<4 {
            var pages = memory.pending[0].take(span: span)
            while pages != 0 {
              let page = span * 64 + pages.trailingZeroBitCount
              pages &= pages &- 1
              unsafe seen[page] = Self.byte(memory, 0, page)
            }
          }
          confirmed.store(iteration, ordering: .releasing)
        } else if last {
          return
        }
      }
    }
    var random = SeededGenerator(seed: seed)
    var expected = [UInt8](repeating: 0, count: 256)
    for _ in 0..<60_000 {
      let page = Int.random(in: 0..<256, using: &random)
      let value = UInt8.random(in: 0...3, using: &random)
      if value == 0 { _ = memory.clear(block: 0, page: page) } else { _ = Self.store(memory, 0, page, value) }
      expected[page] = value
      if page < 8 { memory.release(upTo: confirmed.load(ordering: .acquiring)) }
    }
    isDone.store(true, ordering: .releasing)
    reader.join()
    #expect(unsafe seen == expected)
    memory.release(upTo: .max)
    #expect(memory.heldByteCount == 0)
  }

  /// What a reader has seen last, and how far it is.
  private final class Reading: @unchecked Sendable {
    let confirmed = Atomic<UInt32>(0)
    let isDone = Atomic<Bool>(false)
    /// The reader's thread only, until it has ended.
    var seen = [UInt8](repeating: 0, count: 256)
  }

  @Test(
    "Several threads store pages of the same spans, and give back what is confirmed: none is lost",
    arguments: [1, 2, 3] as [UInt64])
  func manyWriters(seed: UInt64) throws {
    let memory = try Self.memory(isShared: true)
    let reading = Reading()
    let reader = HostThread(name: "test-lane") {
      var iteration: UInt32 = 0
      while true {
        let last = reading.isDone.load(ordering: .acquiring)
        if memory.collect(for: iteration + 1) > 0 {
          iteration += 1
          for span in 0..<4 {
            var pages = memory.pending[0].take(span: span)
            while pages != 0 {
              let page = span * 64 + pages.trailingZeroBitCount
              pages &= pages &- 1
              reading.seen[page] = Self.byte(memory, 0, page)
            }
          }
          reading.confirmed.store(iteration, ordering: .releasing)
        } else if last {
          return
        }
      }
    }
    let wrote = Mutex([UInt8](repeating: 0, count: 256))
    // Each has every fourth page, as connections have between two barriers.
    let writers = (0..<4).map { writer in
      HostThread(name: "test-channel") {
        var random = SeededGenerator(seed: seed * 4 + UInt64(writer))
        var content = [UInt8](repeating: 0, count: 4096)
        var hand = PagePool.Hand()
        var last = [UInt8](repeating: 0, count: 256)
        for _ in 0..<20_000 {
          let page = Int.random(in: 0..<64, using: &random) * 4 + writer
          let value = UInt8.random(in: 0...3, using: &random)
          content[77] = value
          unsafe content.withUnsafeBytes {
            _ = unsafe memory.store(block: 0, page: page, value == 0 ? nil : $0, &hand)
          }
          last[page] = value
          if page < 32 { memory.release(upTo: reading.confirmed.load(ordering: .acquiring)) }
        }
        wrote.withLock { for page in stride(from: writer, to: 256, by: 4) { $0[page] = last[page] } }
      }
    }
    for writer in writers { writer.join() }
    reading.isDone.store(true, ordering: .releasing)
    reader.join()
    #expect(reading.seen == wrote.withLock { $0 })
    memory.release(upTo: .max)
    #expect(memory.heldByteCount == 0)
  }
}
