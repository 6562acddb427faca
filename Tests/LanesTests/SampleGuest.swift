// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import HostSystem
import Lanes
import PageKernels
import PageModel
import TestSupport
import Testing

/// Guest memory that tests of pipelines move.
enum SampleGuest {
  /// Blocks whose sizes are no multiple of a span, and one of a single page.
  static func contents(seed: UInt64) -> [[UInt8]] {
    [
      SamplePages.mixedImage(pageCount: 1, seed: seed), SamplePages.mixedImage(pageCount: 700, seed: seed + 1),
      SamplePages.mixedImage(pageCount: 1024, seed: seed + 2),
    ]
  }

  /// A guest's contents where a VMM would have them.
  static func mapped(_ source: ArraySource, _ contents: [[UInt8]]) throws -> ProcessMemorySource {
    let memory = try AnonymousMemory(blocks: source.blocks, populateAhead: false)
    for (block, bytes) in contents.enumerated() {
      unsafe bytes.withUnsafeBytes {
        unsafe UnsafeMutableRawBufferPointer(start: memory.base(block: block), count: $0.count).copyMemory(from: $0)
      }
    }
    return unsafe ProcessMemorySource(
      blocks: source.blocks, bases: contents.indices.map { unsafe UnsafeRawPointer(memory.base(block: $0)) },
      owner: memory)
  }

  /// Every other page zero: the most parts that a span can have.
  static let comb = SamplePages.image((0..<4096).map { $0 % 2 == 0 ? .random : .zero }, seed: 31)
}

/// A destination like ``AnonymousMemory`` that does not say that it is mapped.
final class UnmappedMemory: DestinationMemory {
  let memory: AnonymousMemory
  var blocks: BlockTable { memory.blocks }
  var writtenByteCount: UInt64 { memory.writtenByteCount }

  init(_ memory: AnonymousMemory) { self.memory = memory }

  func store(_ data: RawSpan, block: Int, span: Int, pages: PageMask) throws(GuestMemoryError) {
    try memory.store(data, block: block, span: span, pages: pages)
  }
  func clear(block: Int, span: Int, pages: PageMask) throws(GuestMemoryError) {
    try memory.clear(block: block, span: span, pages: pages)
  }
  func apply(
    _ deltas: RawSpan, places: ArraySlice<Range<Int>>, block: Int, span: Int, pages: PageMask
  ) throws(GuestMemoryError) {
    try memory.apply(deltas, places: places, block: block, span: span, pages: pages)
  }
  func digest(block: Int, spans: Range<Int>) throws(GuestMemoryError) -> BlockDigest {
    try memory.digest(block: block, spans: spans)
  }
  func prepareToComplete() throws(GuestMemoryError) {}
  func complete() throws(GuestMemoryError) {}
  func discard() {}
}

extension PipelineHarness {
  /// Starts both pipelines, and has one iteration moved.
  func move(_ sender: SendingPipeline, _ receiver: ReceivingPipeline, laneCount: Int) throws {
    sender.start()
    receiver.start()
    sender.begin(.init(number: 1, kind: .bulk))
    try awaitMarks(laneCount)
  }
}

extension DestinationMemory {
  /// Compares every block with what was sent.
  func expect(_ digests: [BlockDigest], sourceLocation: SourceLocation = #_sourceLocation) throws {
    for (index, block) in blocks.blocks.enumerated() {
      let found = try digest(block: index, spans: 0..<block.spanCount)
      #expect(found == digests[index], "block \(index)", sourceLocation: sourceLocation)
    }
  }
}
