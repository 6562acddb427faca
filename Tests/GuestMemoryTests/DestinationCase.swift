// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import PageKernels
import PageModel
import TestSupport
import Testing

/// A kind of destination memory, as a test argument: each must behave like the others.
enum DestinationCase: CaseIterable, CustomTestStringConvertible {
  case image, anonymous, anonymousPopulated

  var testDescription: String {
    switch self {
    case .image: "image file"
    case .anonymous: "anonymous memory"
    case .anonymousPopulated: "anonymous memory populated ahead"
    }
  }

  func make(_ blocks: [RAMBlock], in directory: TemporaryDirectory) throws -> any DestinationMemory {
    switch self {
    case .image:
      try ImageDestination(
        path: directory.file("out"), map: MemoryMap(consecutive: blocks), options: ImageDestination.Options())
    case .anonymous: try AnonymousMemory(blocks: BlockTable(blocks), populateAhead: false)
    case .anonymousPopulated: try AnonymousMemory(blocks: BlockTable(blocks), populateAhead: true)
    }
  }
}

/// What a destination must hold: arrays, and nothing else.
struct DestinationModel {
  private(set) var content: [[UInt8]]
  private(set) var written: [Set<Int>]

  init(_ blocks: [RAMBlock]) {
    content = blocks.map { [UInt8](repeating: 0, count: Int($0.byteCount)) }
    written = blocks.map { _ in [] }
  }

  mutating func store(_ data: [UInt8], block: Int, pages: [Int]) {
    for (slot, number) in pages.enumerated() { replace(block, number, with: page(slot, of: data)) }
    written[block].formUnion(pages)
  }

  mutating func clear(block: Int, pages: [Int]) {
    for number in pages { replace(block, number, with: [UInt8](repeating: 0, count: pageByteCount)) }
  }

  private mutating func replace(_ block: Int, _ number: Int, with bytes: [UInt8]) {
    content[block].replaceSubrange(number * pageByteCount..<(number + 1) * pageByteCount, with: bytes)
  }

  /// The sum over the pages that are not zero, straight from the definition.
  func digest(block: Int, spans: Range<Int>) -> BlockDigest {
    var digest = BlockDigest()
    let pageCount = content[block].count / pageByteCount
    for number in spans.lowerBound * 64..<min(spans.upperBound * 64, pageCount) {
      let bytes = page(number, of: content[block])
      if !isZero(bytes) { withSpan(bytes) { digest.add(page: $0, number: UInt64(number)) } }
    }
    return digest
  }
}

extension DestinationMemory {
  func store(_ data: [UInt8], block: Int, span: Int, pages: PageMask) throws {
    try withSpan(data) { try store($0, block: block, span: span, pages: pages) }
  }
}
