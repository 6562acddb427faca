// SPDX-License-Identifier: Apache-2.0
import Glibc
import GuestMemory
import PageModel
import TestSupport
import Testing

@Suite("Image destinations")
struct ImageDestinationTests {
  private let directory = TemporaryDirectory()
  private var output: String { directory.file("out") }
  private var partial: String { output + ImageDestination.partialSuffix }

  private static func map(pageCount: Int = 128) throws -> MemoryMap {
    try MemoryMap(wholeImage: UInt64(pageCount * pageByteCount))
  }

  private func make(_ options: ImageDestination.Options = .init(), pageCount: Int = 128) throws -> ImageDestination {
    try ImageDestination(path: output, map: try Self.map(pageCount: pageCount), options: options)
  }

  @Test("Until commit the image has another name, after it its own", arguments: [false, true])
  func partialUntilComplete(synchronize: Bool) throws {
    let destination = try make(.init(synchronize: synchronize))
    let data = SamplePages.image([.random, .text], seed: 501)
    try destination.store(data, block: 0, span: 1, pages: 0b1001)
    try destination.prepareToComplete()
    #expect(TemporaryDirectory.exists(partial) && !TemporaryDirectory.exists(output))
    try destination.complete()
    #expect(!TemporaryDirectory.exists(partial))
    var expected = [UInt8](repeating: 0, count: 128 * pageByteCount)
    expected.replaceSubrange(64 * pageByteCount..<65 * pageByteCount, with: page(0, of: data))
    expected.replaceSubrange(67 * pageByteCount..<68 * pageByteCount, with: page(1, of: data))
    let same = try TemporaryDirectory.read(output) == expected
    #expect(same)
  }

  @Test("Pages that were not stored are holes, and clearing them does not fill the hole")
  func staysSparse() throws {
    let destination = try make(pageCount: 16384)
    try destination.store([UInt8](repeating: 1, count: pageByteCount), block: 0, span: 100, pages: 1)
    for span in 0..<50 { try destination.clear(block: 0, span: span, pages: .max) }
    try destination.complete()
    #expect(SparseFile.byteCount(output) == 64 << 20)
    #expect(SparseFile.allocatedByteCount(output) < 1 << 20)
  }

  @Test("An image that is discarded, or let go, leaves nothing behind", arguments: [false, true])
  func discarded(explicitly: Bool) throws {
    do {
      let destination = try make()
      try destination.store([UInt8](repeating: 1, count: pageByteCount), block: 0, span: 0, pages: 1)
      if explicitly { destination.discard() }
    }
    #expect(!TemporaryDirectory.exists(partial))
    #expect(!TemporaryDirectory.exists(output))
  }

  @Test("An image that is discarded after it was prepared leaves no memory map behind")
  func discardedAfterPreparing() throws {
    let destination = try make(.init(writeMap: true))
    try destination.prepareToComplete()
    destination.discard()
    #expect(!TemporaryDirectory.exists(partial))
    #expect(!TemporaryDirectory.exists(output + ".map.json"))
  }

  @Test("Letting go of a completed image keeps it")
  func completedStays() throws {
    do {
      let destination = try make()
      try destination.complete()
      destination.discard()
    }
    #expect(SparseFile.byteCount(output) == 128 * pageByteCount)
  }

  @Test("What a killed receiver left does not show through")
  func leftover() throws {
    try directory.write([UInt8](repeating: 9, count: 200 * pageByteCount), to: "out" + ImageDestination.partialSuffix)
    let destination = try make()
    try destination.store([UInt8](repeating: 1, count: pageByteCount), block: 0, span: 0, pages: 1 << 5)
    try destination.complete()
    let content = try TemporaryDirectory.read(output)
    #expect(content.count == 128 * pageByteCount)
    let stale = (0..<128).filter { $0 != 5 && !isZero(page($0, of: content)) }
    #expect(stale.isEmpty, "pages \(stale) hold what the leftover held")
  }

  @Test("A memory map written beside the image says where its blocks are")
  func writesMap() throws {
    let map = try MemoryMap(consecutive: [
      RAMBlock(name: "low", guestPhysicalBase: 0, byteCount: 8192),
      RAMBlock(name: "high", guestPhysicalBase: 1 << 32, byteCount: 12288),
    ])
    let destination = try ImageDestination(path: output, map: map, options: .init(writeMap: true))
    try destination.store([UInt8](repeating: 3, count: pageByteCount), block: 1, span: 0, pages: 0b10)
    try destination.prepareToComplete()
    try destination.complete()
    let readBack = try MemoryMap(path: output + ".map.json")
    #expect(readBack == map)
    let source = try ImageSource(path: output, map: readBack)
    let taken = try Taken(source, block: 1, span: 0, wanted: 0b111)
    let expected = (0..<3).flatMap { [UInt8](repeating: $0 == 1 ? 3 : 0, count: pageByteCount) }
    #expect(taken.difference(from: expected, span: 0, wanted: 0b111) == nil)
  }

  @Test("No memory map is written unless asked for")
  func noMap() throws {
    let destination = try make()
    try destination.prepareToComplete()
    try destination.complete()
    #expect(!TemporaryDirectory.exists(output + ".map.json"))
  }

  @Test("Reading back a partial file that somebody cut off is an error")
  func cutOff() throws {
    let destination = try make()
    try destination.store([UInt8](repeating: 1, count: pageByteCount), block: 0, span: 1, pages: 1 << 63)
    try #require(unsafe truncate(partial, off_t(100 * pageByteCount)) == 0)
    #expect(throws: GuestMemoryError.changedWhileRead(path: partial)) { try destination.digest(block: 0, spans: 0..<2) }
  }
}
