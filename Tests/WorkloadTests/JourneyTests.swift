// SPDX-License-Identifier: Apache-2.0
import Glibc
import GuestMemory
import HostSystem
import PageModel
import Testing
import Workload

@Suite("Embedded guests that move")
struct JourneyTests {
  @Test("A guest goes on where its memory and its state arrive, and can move again", arguments: writingPatterns)
  func twoMoves(pattern: WorkloadPattern) throws {
    var memory = try TestMemory()
    var guest = try WorkloadGuest.begun(.small(pattern, threads: 3, seed: 31), memory, writes: 900)
    for move in 1...2 {
      let state = try guest.saveState()
      #expect(state.count < 1000)
      let next = try TestMemory()
      next.bytes = memory.bytes
      let writes = guest.statistics.writes
      guest.stop()
      memory.bytes = [UInt8](repeating: 0xee, count: memory.pageCount * pageByteCount)
      let arrival = WorkloadArrival(next.memory)
      try arrival.loadState(state)
      let there = try #require(arrival.guest)
      #expect(there.plan == guest.plan)
      #expect(there.statistics.writes == writes)
      let before = try arrival.verify(everything: true)
      #expect(before.isSound, "move \(move): \(before)")
      #expect(before.writesAccounted == writes)
      try arrival.resume()
      while there.statistics.writes < writes + 900 { usleep(500) }
      try there.pause()
      let after = try arrival.verify(everything: true)
      #expect(after.isSound, "move \(move): \(after)")
      #expect(after.writesAccounted >= writes + 900)
      guest = there
      memory = next
    }
  }

  @Test("A guest that runs on at the source, because the move failed, is sound there")
  func failedMove() throws {
    let memory = try TestMemory()
    let guest = try WorkloadGuest.begun(.small(.pages, seed: 32), memory, writes: 300)
    let copy = try TestMemory()
    copy.bytes = memory.bytes
    do {
      // Dropped without a resume: its threads end, and nothing was written.
      let arrival = WorkloadArrival(copy.memory)
      try arrival.loadState(guest.saveState())
    }
    #expect(copy.bytes == memory.bytes)
    try guest.run(untilWrites: 300)
    #expect(try guest.verify(everything: true).isSound)
  }

  @Test("A guest that moves within its host knows how long it stood still")
  func gap() throws {
    let memory = try TestMemory()
    let guest = try WorkloadGuest.begun(.small(.sparse, threads: 1, seed: 33), memory, writes: 300)
    let copy = try TestMemory()
    copy.bytes = memory.bytes
    let arrival = WorkloadArrival(copy.memory)
    try arrival.loadState(guest.saveState())
    HostClock.sleep(nanoseconds: 250_000_000)
    try arrival.resume()
    let there = try #require(arrival.guest)
    try there.run(untilWrites: 300)
    #expect(there.statistics.longestGap > .milliseconds(245))
  }

  @Test("The source of a guest shows its memory where it is, and hands the log on")
  func source() throws {
    let memory = try TestMemory()
    let log = NoLog()
    let guest = try WorkloadGuest(.small(.idle, seed: 34), memory: memory.memory, dirtyLog: log)
    guest.fill()
    #expect(guest.dirtyLog === log)
    let mapping = try #require(guest.memory.mapping)
    #expect(mapping.blocks == memory.memory.blocks)
    let first = mapping.withBytes(block: 1, span: 0) { span in
      (0..<pageByteCount).map { unsafe span.unsafeLoad(fromByteOffset: $0, as: UInt8.self) }
    }
    #expect(first == memory[300])
    let arrival = WorkloadArrival(try TestMemory().memory, dirtyLog: log)
    try arrival.loadState(guest.saveState())
    #expect(arrival.guest?.dirtyLog === log)
  }

  private final class NoLog: DirtyLog {
    var method: String { "none" }
    func start() throws(GuestMemoryError) {}
    func sync(into pending: [SpanMap]) throws(GuestMemoryError) {}
    func rearm(block: Int, spans: Range<Int>) throws(GuestMemoryError) -> StripeMasks { StripeMasks(repeating: 0) }
    func stop() {}
  }

  @Test("An arrival without a state has no guest, and takes only one")
  func arrivals() throws {
    let memory = try TestMemory()
    let guest = try WorkloadGuest(.small(.idle, seed: 35), memory: memory.memory)
    let arrival = WorkloadArrival(try TestMemory().memory)
    #expect(arrival.guest == nil)
    #expect(throws: GuestError("no state was loaded: there is no guest to run")) { try arrival.resume() }
    #expect(throws: GuestError("no state was loaded: there is no guest to run")) {
      try arrival.verify(everything: true)
    }
    try arrival.loadState(guest.saveState())
    #expect(throws: GuestError("the guest's state was loaded already")) { try arrival.loadState(guest.saveState()) }
  }
}
