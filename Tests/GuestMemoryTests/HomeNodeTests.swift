// SPDX-License-Identifier: Apache-2.0
import HostSystem
import PageModel
import Testing

@testable import GuestMemory

@Suite struct HomeNodeTests {
  @Test(
    "The node of nine in ten pages that exist, or none",
    arguments: [
      ([0, 0, 0, 0], 0), ([1], 1), ([nil, nil, 1], 1), ([], nil), ([nil, nil], nil), ([0, 1], nil),
      ([0, 0, 0, 1], nil),
      (Array(repeating: 8, count: 19) + [0], 8),
    ] as [([Int?], Int?)])
  func majority(nodes: [Int?], expected: Int?) { #expect(HomeNode.majority(nodes) == expected) }

  private static let table = try? BlockTable([
    RAMBlock(name: "touched", guestPhysicalBase: 0, byteCount: 8 << 20),
    RAMBlock(name: "one page", guestPhysicalBase: 2 << 30, byteCount: 4096),
  ])

  @Test("Memory is where the thread that populates it runs", arguments: HostTopology(reading: HostFiles()).nodes)
  func populated(node: HostTopology.Node) throws {
    if let refusal = MemoryPolicy.refusal { return print("SKIPPED: the node of real memory: \(refusal)") }
    let cpus = node.cpus.intersection(HostThread.allowedCPUSet)
    guard !cpus.isEmpty, node.memoryByteCount > 0 else {
      return print("SKIPPED: populating memory on node \(node.number), which has no CPU for it, or no memory")
    }
    let table = try #require(Self.table)
    let memory = try AnonymousMemory(
      blocks: table, populateAhead: true, backing: .anonymous(hugePages: false), placement: .init(cpus: cpus))
    for _ in 0..<200 where memory.homeNode(block: 1) == nil { HostClock.sleep(nanoseconds: 10_000_000) }
    #expect(memory.homeNode(block: 0) == node.number && memory.homeNode(block: 1) == node.number)
    let source = unsafe ProcessMemorySource(
      blocks: table, bases: (0..<2).map { unsafe UnsafeRawPointer(memory.base(block: $0)) }, owner: memory)
    #expect(source.homeNode(block: 0) == node.number)
  }

  @Test("Memory that was not touched has no node, and asking touches nothing")
  func untouched() throws {
    if let refusal = MemoryPolicy.refusal { return print("SKIPPED: the node of real memory: \(refusal)") }
    let memory = try AnonymousMemory(blocks: try #require(Self.table), populateAhead: false)
    for _ in 0..<2 { #expect(memory.homeNode(block: 0) == nil) }
    #expect(try MemoryPolicy.nodes(ofPages: [UInt(bitPattern: unsafe memory.base(block: 0))]) == [nil])
  }
}
