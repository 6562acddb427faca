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

  @Test("Memory that was touched has a node of this host; memory that was not has none")
  func realMemory() throws {
    if let refusal = MemoryPolicy.refusal { return print("SKIPPED: the node of real memory: \(refusal)") }
    let table = try BlockTable([
      RAMBlock(name: "touched", guestPhysicalBase: 0, byteCount: 8 << 20),
      RAMBlock(name: "untouched", guestPhysicalBase: 1 << 30, byteCount: 8 << 20),
      RAMBlock(name: "one page", guestPhysicalBase: 2 << 30, byteCount: 4096),
    ])
    let memory = try AnonymousMemory(blocks: table, populateAhead: false, backing: .anonymous(hugePages: false))
    for block in [0, 2] {
      unsafe memory.base(block: block).initializeMemory(
        as: UInt8.self, repeating: 1, count: Int(table.blocks[block].byteCount))
    }
    let nodes = HostTopology(reading: HostFiles()).memoryNodes
    let source = unsafe ProcessMemorySource(
      blocks: table, bases: (0..<3).map { unsafe UnsafeRawPointer(memory.base(block: $0)) }, owner: memory)
    // On several nodes the kernel may have spread it.
    if nodes.count == 1 {
      #expect(memory.homeNode(block: 0) == nodes[0] && memory.homeNode(block: 2) == nodes[0])
      #expect(source.homeNode(block: 0) == nodes[0])
    }
    #expect(memory.homeNode(block: 1) == nil && source.homeNode(block: 1) == nil)
    // Asking has touched nothing.
    #expect(try MemoryPolicy.nodes(ofPages: [unsafe UInt(bitPattern: memory.base(block: 1))]) == [nil])
  }
}
