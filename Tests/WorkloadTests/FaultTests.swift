// SPDX-License-Identifier: Apache-2.0
import Glibc
import GuestMemory
import PageModel
import Testing

@testable import Workload

/// Every way of losing data that a migration could have: each must be found.
@Suite("What a verification finds")
struct FaultTests {
  /// A guest that has arrived: memory as it was some time before the move and at the move, and its state.
  private struct Moved {
    let earlier: TestMemory
    let final: TestMemory
    let state: [UInt8]
    let seed: UInt64

    init(_ pattern: WorkloadPattern, seed: UInt64) throws {
      self.seed = seed
      final = try TestMemory()
      earlier = try TestMemory()
      let guest = try WorkloadGuest.begun(.small(pattern, seed: seed), final, writes: 1500)
      earlier.bytes = final.bytes
      try guest.run(untilWrites: 1500)
      state = try guest.saveState()
    }

    /// What a verification says after `damage`. The memory is whole again afterwards.
    func verify(everything: Bool = true, _ damage: (TestMemory) throws -> Void) throws -> WorkloadVerification {
      let before = final.bytes
      defer { final.bytes = before }
      try damage(final)
      let arrival = WorkloadArrival(final.memory)
      try arrival.loadState(state)
      return try arrival.verify(everything: everything)
    }

    /// Pages of the working set that were written between the two moments, and before the first.
    var rewritten: [Int] { final.pagesThatDiffer(from: earlier.bytes) }
  }

  @Test("A page that missed its last writes", arguments: writingPatterns)
  func stale(pattern: WorkloadPattern) throws {
    let moved = try Moved(pattern, seed: 51)
    #expect(try moved.verify { _ in }.isSound)
    for page in moved.rewritten.prefix(3) {
      let result = try moved.verify(everything: false) { $0[page] = moved.earlier[page] }
      #expect(!result.isSound, "page \(page)")
      #expect(result.faults.contains { $0.contains("writes, it made") }, "page \(page): \(result)")
    }
  }

  @Test("A page that was never sent", arguments: writingPatterns)
  func lost(pattern: WorkloadPattern) throws {
    let moved = try Moved(pattern, seed: 52)
    let page = try #require(moved.rewritten.first)
    let result = try moved.verify { $0[page] = [UInt8](repeating: 0, count: pageByteCount) }
    #expect(!result.isSound)
  }

  @Test("A page that is half old and half new", arguments: writingPatterns)
  func torn(pattern: WorkloadPattern) throws {
    let moved = try Moved(pattern, seed: 53)
    let pages = moved.rewritten
    for (index, page) in pages.prefix(7).enumerated() {
      // Torn at different places: in sparse pages only where the three places are parted.
      let cut = pageByteCount * (1 + index % 7) / 8
      let old = moved.earlier[page]
      let new = moved.final[page]
      let torn = Array(old[..<cut] + new[cut...])
      guard torn != new else { continue }
      let result = try moved.verify(everything: false) { $0[page] = torn }
      #expect(!result.isSound, "page \(page), cut at \(cut)")
    }
    let page = try #require(pages.first)
    let half = try moved.verify(everything: false) {
      $0[page] = Array(moved.earlier[page][..<2048] + moved.final[page][2048...])
    }
    #expect(half.faults.contains { $0.hasPrefix("page \(page), ") }, "\(half)")
  }

  @Test("Two pages that changed places", arguments: writingPatterns)
  func swapped(pattern: WorkloadPattern) throws {
    let moved = try Moved(pattern, seed: 54)
    let pages = moved.rewritten
    let (left, right) = (pages[0], pages[pages.count - 1])
    let result = try moved.verify { memory in
      let kept = memory[left]
      memory[left] = memory[right]
      memory[right] = kept
    }
    #expect(result.faultCount >= 2)
    for page in [left, right] { #expect(result.faults.contains { $0.hasPrefix("page \(page), ") }, "\(result)") }
  }

  @Test("A single bit, in any page, written or not", arguments: [55, 56] as [UInt64])
  func bit(seed: UInt64) throws {
    let moved = try Moved(.sparse, seed: seed)
    for page in [0, 99, 100, 299, 300, 306, 307, 499, 500, 706] {
      let byte = Int(seed) * 37 % pageByteCount
      let result = try moved.verify { $0[page][byte] ^= 0x10 }
      #expect(result.faults.contains { $0.hasPrefix("page \(page), ") }, "page \(page), byte \(byte): \(result)")
    }
    // What is not in the working set is looked at only with everything.
    #expect(try moved.verify(everything: false) { $0[0][0] ^= 1 }.isSound)
  }

  @Test("A mark that claims another generation, and one that was undone together with its page")
  func marks() throws {
    let moved = try Moved(.sparse, seed: 57)
    let page = moved.rewritten[3]
    for bit in [0, 7, 63] {
      let mark = (0..<512).first { word in
        let range = word * 8..<word * 8 + 8
        return moved.final[page][range] != moved.earlier[page][range]
      }
      let byte = try #require(mark) * 8 + bit / 8
      let result = try moved.verify { $0[page][byte] ^= 1 << UInt8(bit % 8) }
      #expect(!result.isSound, "bit \(bit)")
    }
  }

  @Test("A thread's record that was lost, is old, or is another thread's")
  func records() throws {
    let moved = try Moved(.sparse, seed: 58)
    let byteCount = moved.final.memory.blocks.byteCount
    let state = try WorkloadState(decoding: moved.state, guestByteCount: byteCount)
    func verify(_ change: (inout [WriterRecord]) -> Void) throws -> WorkloadVerification {
      var changed = state
      change(&changed.records)
      let arrival = WorkloadArrival(moved.final.memory)
      try arrival.loadState(changed.encoded())
      return try arrival.verify(everything: false)
    }
    #expect(try verify { _ in }.isSound)
    #expect(try verify { $0[1] = WriterRecord(seed: 58, thread: 1) }.faultCount == 1)
    #expect(try verify { $0.swapAt(0, 1) }.faultCount == 2)
    #expect(try verify { $0[0].writes -= 1 }.faults.first?.hasPrefix("thread 0: ") == true)
    let other = try verify { $0[0].sum ^= 1 }
    #expect(other.faults.first?.hasSuffix("but not the same ones") == true, "\(other)")
    #expect(throws: GuestError.self) {
      let arrival = WorkloadArrival(moved.final.memory)
      try arrival.loadState(Array(moved.state.dropLast(48)))
    }
  }

  @Test("Damage does not go away by writing on")
  func lasting() throws {
    let moved = try Moved(.pages, seed: 59)
    let page = moved.rewritten[0]
    moved.final[page] = moved.earlier[page]
    let arrival = WorkloadArrival(moved.final.memory)
    try arrival.loadState(moved.state)
    let guest = try #require(arrival.guest)
    // Every page is rewritten many times meanwhile.
    try guest.run(untilWrites: 4000)
    #expect(try !guest.verify(everything: false).isSound)
  }

  @Test("Many faults are counted, the first are named")
  func many() throws {
    let moved = try Moved(.sparse, seed: 60)
    let result = try moved.verify { memory in for page in 200..<300 { memory[page][5] ^= 0xff } }
    #expect(result.faultCount >= 100)
    #expect(result.faults.count == WorkloadVerification.faultsMax)
    #expect(result.faults.first?.hasPrefix("page 200, ") == true)
    #expect(!result.description.contains("sound"))
  }
}
