// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Synchronization
import TestSupport
import Testing

/// What a thread finds out about itself.
private struct Found: Equatable {
  var cpus = CPUSet([])
  var niceness = 0
  var isBatch = false
}

private func run(_ placement: ThreadPlacement) -> Found {
  let found = Mutex(Found())
  let thread = HostThread(name: "placed", placement: placement) {
    let here = Found(cpus: HostThread.allowedCPUSet, niceness: HostThread.niceness, isBatch: HostThread.isBatch)
    found.withLock { $0 = here }
  }
  thread.join()
  return found.withLock { $0 }
}

@Suite struct ThreadPlacementTests {
  @Test("A thread runs where it was placed, from its first line on, and others are not touched")
  func affinity() throws {
    let before = HostThread.allowedCPUSet
    for cpu in before.numbers { #expect(run(.init(cpus: [cpu])).cpus == [cpu]) }
    #expect(HostThread.allowedCPUSet == before)
    #expect(run(.anywhere) == Found(cpus: before, niceness: HostThread.niceness, isBatch: HostThread.isBatch))
  }

  @Test("Nice value and SCHED_BATCH are the thread's own")
  func standsBack() {
    let before = HostThread.niceness
    let found = run(.init(niceness: 7, isBatch: true))
    #expect(found.niceness == 7 && found.isBatch)
    #expect(HostThread.niceness == before && !HostThread.isBatch)
  }

  @Test("What cannot be applied is said, and the thread runs all the same")
  func warns() {
    let said = Mutex<[String]>([])
    let found = run(.init(cpus: [CPUSet.numberMax], warn: { sentence in said.withLock { $0.append(sentence) } }))
    #expect(found.cpus == HostThread.allowedCPUSet)
    #expect(said.withLock { $0 }.count == 1)
    #expect(said.withLock { $0 }.first?.contains("8191") == true)
  }
}

/// Why the kernel does not bind memory here; said aloud.
private let refusal: String? = {
  let refusal = MemoryPolicy.refusal
  if let refusal { print("SKIPPED: tests of memory policies: \(refusal)") }
  return refusal.map { "\($0)" }
}()

@Suite(.enabled(if: refusal == nil, "\(refusal ?? "")"))
struct MemoryPolicyTests {
  @Test(
    "A buffer prefers the node that it was made for, and comes from there",
    arguments: HostTopology(reading: HostFiles()).memoryNodes)
  func buffer(node: Int) throws {
    var bound = try PageBuffer(byteCount: 10_000, node: node)
    let free = try PageBuffer(byteCount: 10_000)
    let (bindings, pages) = unsafe (
      [try MemoryPolicy.preferredNode(of: bound.unsafeBase), try MemoryPolicy.preferredNode(of: free.unsafeBase)],
      (0..<3).map { unsafe UInt(bitPattern: bound.unsafeBase) + UInt($0) * 4096 }
    )
    #expect(bindings == [node, nil])
    #expect(try MemoryPolicy.nodes(ofPages: pages) == [nil, nil, nil], "asking faults nothing in")
    bound.withMutableBytes(0..<8192) { bytes in
      for offset in [0, 4096] { bytes.storeBytes(of: 1, toByteOffset: offset, as: UInt8.self) }
    }
    #expect(try MemoryPolicy.nodes(ofPages: pages) == [node, node, nil])
    _ = consume free
  }

  @Test("A node that does not exist binds nothing, and the buffer works", arguments: [-1, 1000, Int.max])
  func noSuchNode(node: Int) throws {
    let buffer = try PageBuffer(byteCount: 4096, node: node)
    let preferred = unsafe try MemoryPolicy.preferredNode(of: buffer.unsafeBase)
    #expect(preferred == nil)
    _ = consume buffer
  }
}
