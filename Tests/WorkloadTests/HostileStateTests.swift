// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import PageKernels
import PageModel
import TestSupport
import Testing

@testable import Workload

/// A state comes from another process: whatever it says, this one goes on.
@Suite("States that lie")
struct HostileStateTests {
  /// Loads bytes into a guest of one block. A guest that they make is let run for a moment and verified.
  /// - Returns: the sentence of a refusal, or nil.
  private static func load(_ bytes: [UInt8], _ memory: TestMemory) throws -> String? {
    let arrival = WorkloadArrival(memory.memory)
    do throws(GuestError) { try arrival.loadState(bytes) } catch {
      #expect(!error.reason.isEmpty)
      return error.reason
    }
    _ = try arrival.verify(everything: true)
    try arrival.resume()
    try arrival.guest?.pause()
    _ = try arrival.verify(everything: true)
    return nil
  }

  /// Puts a checksum at the end that is right.
  private static func sealed(_ bytes: [UInt8]) -> [UInt8] {
    let body = Array(bytes.dropLast(8))
    let sum = PageHash.checksum(body)
    return body + (0..<8).map { UInt8(truncatingIfNeeded: sum >> UInt64(8 * $0)) }
  }

  private static func state(_ pattern: WorkloadPattern, _ memory: TestMemory) throws -> [UInt8] {
    let plan = WorkloadPlan(pattern: pattern, workingSetByteCount: 16 << 12, threadCount: 2, seed: 71)
    return try WorkloadGuest(plan, memory: memory.memory).saveState()
  }

  @Test("Every flipped bit is found by the checksum, or by what is checked before it")
  func flips() throws {
    let memory = try TestMemory([20])
    let state = try Self.state(.sparse, memory)
    #expect(try Self.load(state, memory) == nil)
    for bit in 0..<state.count * 8 {
      var bytes = state
      bytes[bit / 8] ^= 1 << UInt8(bit % 8)
      #expect(try Self.load(bytes, memory) != nil, "bit \(bit)")
    }
  }

  @Test(
    "A byte that was changed by someone who can do sums makes a guest or a refusal, never a trap",
    arguments: [WorkloadPattern.sparse, .sequential, .hot, .growing(seconds: 5)])
  func sealedFlips(pattern: WorkloadPattern) throws {
    let memory = try TestMemory([20])
    let state = try Self.state(pattern, memory)
    for byte in 0..<state.count - 8 {
      var bytes = state
      bytes[byte] = [state[byte] ^ 1, state[byte] ^ 0x80, 0xff][byte % 3]
      _ = try Self.load(Self.sealed(bytes), memory)
    }
  }

  @Test("States that are cut short, too long, or noise are refused", arguments: [72, 73] as [UInt64])
  func noise(seed: UInt64) throws {
    let memory = try TestMemory([20])
    let state = try Self.state(.hot, memory)
    for count in 0..<state.count {
      let short = Array(state.prefix(count))
      #expect(try Self.load(short, memory) != nil, "\(count) bytes")
      if count >= 8 { #expect(try Self.load(Self.sealed(short), memory) != nil, "\(count) bytes, sealed") }
    }
    #expect(try Self.load(state + [0], memory) != nil)
    #expect(try Self.load(Self.sealed(state + [UInt8](repeating: 0, count: 48)), memory) != nil)
    #expect(
      try Self.load([UInt8](repeating: 0, count: 256 << 10), memory) == "this is not the state of an embedded guest")
    var generator = SeededGenerator(seed: seed)
    for _ in 0..<500 {
      // Noise behind a right opening gets further than noise.
      var bytes = Array(state.prefix(8))
      for _ in 0..<Int.random(in: 0...300, using: &generator) { bytes.append(.random(in: 0...255, using: &generator)) }
      #expect(try Self.load(bytes, memory) != nil, "seed \(seed)")
    }
  }

  @Test("A refusal says what is wrong")
  func sentences() throws {
    let memory = try TestMemory([20])
    let state = try Self.state(.sequential, memory)
    func changed(_ word: Int, _ value: UInt64) -> [UInt8] {
      var bytes = state
      for byte in 0..<8 { bytes[word * 8 + byte] = UInt8(truncatingIfNeeded: value >> UInt64(8 * byte)) }
      return Self.sealed(bytes)
    }
    let cases: [([UInt8], String)] = [
      ([], "the guest's state has 0 bytes, 104 belong to it"),
      (changed(0, 0x2_4757_4650), "the guest's state has version 2, this side knows version 1"),
      (changed(6, 1 << 40), "1099511627776 writer threads, 1 to 64 are possible"),
      (changed(10, 4096), "the state is that of a guest with 4096 bytes of memory, this one has 81920"),
      (changed(13, 9), "the state of writer thread 0 is at page 9 of its 8"),
      (changed(4, 1 << 20), "a working set of 65536 bytes from byte 1048576 on does not lie in a guest of 81920 bytes"),
      (Array(state.dropLast(8)) + [UInt8](repeating: 0, count: 8), "the guest's state does not match its checksum"),
    ]
    for (bytes, sentence) in cases { #expect(try Self.load(bytes, memory) == sentence) }
  }
}
