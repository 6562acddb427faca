// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import PageKernels
import PageModel
import TestSupport
import Testing

/// Page-aligned memory of this process that stands for a guest's block.
@safe private final class GuestBlock {
  let base: UnsafeMutableRawPointer

  init(_ content: [UInt8]) {
    unsafe base = .allocate(byteCount: content.count, alignment: pageByteCount)
    let room = unsafe UnsafeMutableRawBufferPointer(start: base, count: content.count)
    unsafe content.withUnsafeBytes { unsafe room.copyMemory(from: $0) }
  }

  deinit { unsafe base.deallocate() }

  func write(_ value: UInt8, at offset: Int) { unsafe base.storeBytes(of: value, toByteOffset: offset, as: UInt8.self) }
}

@Suite("Sources in this process")
struct ProcessMemorySourceTests {
  @Test("A snapshot is what the blocks hold, for any pages wanted", arguments: [531, 532] as [UInt64])
  func snapshot(seed: UInt64) throws {
    let contents = [150, 64, 3].enumerated().map { index, pageCount in
      SamplePages.image(SeededKinds(count: pageCount, seed: seed + UInt64(index)).kinds, seed: seed + UInt64(index))
    }
    let memory = contents.map { GuestBlock($0) }
    let table = try BlockTable(
      contents.enumerated().map { index, content in
        RAMBlock(name: "ram\(index)", guestPhysicalBase: UInt64(index) << 32, byteCount: UInt64(content.count))
      })
    let source = unsafe ProcessMemorySource(blocks: table, bases: memory.map { unsafe UnsafeRawPointer($0.base) })
    var generator = SeededGenerator(seed: seed)
    try withExtendedLifetime(memory) {
      for (index, block) in table.blocks.enumerated() {
        #expect(pages(of: try source.presentPages(block: index)) == Set(0..<block.pageCount), "block \(index)")
        for span in 0..<block.spanCount {
          for wanted in [.max, generator.next(), 0].map({ $0 & block.pages(ofSpan: span) }) {
            let taken = try Taken(source, block: index, span: span, wanted: wanted)
            let difference = taken.difference(from: contents[index], span: span, wanted: wanted)
            #expect(difference == nil, "block \(index), wanted 0x\(String(wanted, radix: 16)), seed \(seed)")
          }
        }
      }
      try source.checkUnchanged()
    }
  }

  @Test("A snapshot sees what the guest has written since, and writing is no error")
  func live() throws {
    let memory = GuestBlock([UInt8](repeating: 0, count: 2 * pageByteCount))
    let table = try BlockTable([RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: UInt64(2 * pageByteCount))])
    let source = unsafe ProcessMemorySource(blocks: table, bases: [UnsafeRawPointer(memory.base)])
    #expect(try Taken(source, span: 0, wanted: 0b11).result.zeroMask == 0b11)
    memory.write(5, at: pageByteCount + 17)
    let taken = try Taken(source, span: 0, wanted: 0b11)
    #expect(taken.result.zeroMask == 0b01)
    #expect(taken.staging[17] == 5)
    try source.checkUnchanged()
  }
}
