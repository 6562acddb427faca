// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import PageKernels
import PageModel
import Synchronization
import TestSupport
import Testing

@Suite("Destinations of every kind")
struct DestinationTests {
  private let directory = TemporaryDirectory()
  private static let blocks = [
    RAMBlock(name: "low", guestPhysicalBase: 0, byteCount: UInt64(150 * pageByteCount)),
    RAMBlock(name: "high", guestPhysicalBase: 1 << 32, byteCount: UInt64(64 * pageByteCount)),
  ]

  private func spans(_ block: Int) -> Range<Int> { 0..<Self.blocks[block].spanCount }

  @Test("A new destination is all zero", arguments: DestinationCase.allCases)
  func startsAsZero(_ kind: DestinationCase) throws {
    let destination = try kind.make(Self.blocks, in: directory)
    #expect(destination.blocks.blocks == Self.blocks)
    #expect(destination.writtenByteCount == 0)
    for block in 0..<2 { #expect(try destination.digest(block: block, spans: spans(block)) == BlockDigest()) }
  }

  @Test(
    "After any stores and clears, digests are those of the reference", arguments: DestinationCase.allCases,
    [401, 402] as [UInt64])
  func asReference(_ kind: DestinationCase, seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let destination = try kind.make(Self.blocks, in: directory)
    var model = DestinationModel(Self.blocks)
    for step in 0..<40 {
      let block = Int.random(in: 0..<2, using: &generator)
      let span = Int.random(in: spans(block), using: &generator)
      let thinned = [generator.next(), .max, generator.next() & generator.next()][step % 3]
      let touched = thinned & Self.blocks[block].pages(ofSpan: span)
      let numbers = pageNumbers(touched).map { span * 64 + $0 }
      if Int.random(in: 0..<3, using: &generator) == 0 {
        try destination.clear(block: block, span: span, pages: touched)
        model.clear(block: block, pages: numbers)
      } else {
        let data = SamplePages.image(SeededKinds(count: numbers.count, seed: generator.next()).kinds, seed: seed)
        try destination.store(data, block: block, span: span, pages: touched)
        model.store(data, block: block, pages: numbers)
      }
      let found = try destination.digest(block: block, spans: span..<span + 1)
      #expect(found == model.digest(block: block, spans: span..<span + 1), "step \(step), span \(span), seed \(seed)")
    }
    for block in 0..<2 {
      let found = try destination.digest(block: block, spans: spans(block))
      #expect(found == model.digest(block: block, spans: spans(block)), "block \(block), seed \(seed)")
    }
    #expect(destination.writtenByteCount == UInt64(model.written.reduce(0) { $0 + $1.count } * pageByteCount))
  }

  @Test("Zero pages that were stored add nothing to a digest", arguments: DestinationCase.allCases)
  func zeroPagesAddNothing(_ kind: DestinationCase) throws {
    let destination = try kind.make(Self.blocks, in: directory)
    try destination.store([UInt8](repeating: 0, count: 64 * pageByteCount), block: 0, span: 1, pages: .max)
    #expect(try destination.digest(block: 0, spans: spans(0)) == BlockDigest())
  }

  @Test("A digest of all spans is the sum of the spans' digests", arguments: DestinationCase.allCases)
  func digestsAddUp(_ kind: DestinationCase) throws {
    let destination = try kind.make(Self.blocks, in: directory)
    for span in spans(0) {
      let present = Self.blocks[0].pages(ofSpan: span)
      let data = SamplePages.image(Array(repeating: .random, count: present.nonzeroBitCount), seed: UInt64(span) + 411)
      try destination.store(data, block: 0, span: span, pages: present)
    }
    var sum = BlockDigest()
    for span in spans(0) {
      let part = try destination.digest(block: 0, spans: span..<span + 1)
      #expect(part != BlockDigest(), "span \(span)")
      sum.add(part)
    }
    #expect(try destination.digest(block: 0, spans: spans(0)) == sum)
  }

  @Test("Channels that store at the same time do not disturb each other", arguments: DestinationCase.allCases)
  func concurrent(_ kind: DestinationCase) throws {
    let block = RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: UInt64(32 * spanByteCount))
    let destination = try kind.make([block], in: directory)
    var model = DestinationModel([block])
    let data = (0..<32).map { SamplePages.image([.random, .text, .singleByte], seed: UInt64($0) + 421) }
    for span in 0..<32 { model.store(data[span], block: 0, pages: [0, 5, 63].map { span * 64 + $0 }) }
    let failures = Mutex<[String]>([])
    Threads.run(4) { channel in
      for span in stride(from: channel, to: 32, by: 4) {
        do { try destination.store(data[span], block: 0, span: span, pages: 1 << 63 | 1 << 5 | 1) } catch {
          failures.withLock { $0.append("\(error)") }
        }
      }
    }
    #expect(failures.withLock { $0 }.isEmpty)
    #expect(try destination.digest(block: 0, spans: 0..<32) == model.digest(block: 0, spans: 0..<32))
  }

  @Test("A destination can be completed, and then discarding does nothing", arguments: DestinationCase.allCases)
  func completes(_ kind: DestinationCase) throws {
    let destination = try kind.make(Self.blocks, in: directory)
    let data = SamplePages.image([.random], seed: 431)
    try destination.store(data, block: 1, span: 0, pages: 1 << 7)
    let digest = try destination.digest(block: 1, spans: spans(1))
    try destination.prepareToComplete()
    try destination.complete()
    destination.discard()
    #expect(try destination.digest(block: 1, spans: spans(1)) == digest)
    #expect(digest != BlockDigest())
  }

  @Test("What was stored stays, even if populating it is stopped half-way", arguments: [false, true])
  func stoppedHalfWay(populateAhead: Bool) throws {
    // Dropped at once, while the thread that populates it is still at work.
    for _ in 0..<20 {
      let blocks = try BlockTable([RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: 8 << 20)])
      let memory = try AnonymousMemory(blocks: blocks, populateAhead: populateAhead)
      try memory.store([UInt8](repeating: 7, count: pageByteCount), block: 0, span: 31, pages: 1 << 63)
      memory.discard()
      #expect(try memory.digest(block: 0, spans: 0..<32) != BlockDigest())
    }
  }
}
