// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import PageKernels
import PageModel

let pageByteCount = 4096
let spanByteCount = 64 * 4096

/// Calls `body` with the bytes of `array`.
func withSpan<Result>(_ array: [UInt8], _ body: (RawSpan) throws -> Result) rethrows -> Result {
  // SAFETY: the span does not outlive the closure.
  unsafe try array.withUnsafeBytes { try body(unsafe RawSpan(_unsafeBytes: $0)) }
}

/// Calls `body` with the bytes of `array`, for writing.
func withMutableSpan<Result>(_ array: inout [UInt8], _ body: (inout MutableRawSpan) throws -> Result) rethrows -> Result
{
  // SAFETY: as above.
  unsafe try array.withUnsafeMutableBytes { bytes in
    var span = unsafe MutableRawSpan(_unsafeBytes: bytes)
    return try body(&span)
  }
}

/// The numbers of the pages in `mask`, ascending.
func pageNumbers(_ mask: PageMask) -> [Int] { (0..<64).filter { (mask >> PageMask($0)) % 2 == 1 } }

/// The mask of `pages`, which are unique.
func mask(_ pages: [Int]) -> PageMask { pages.reduce(0) { $0 + (1 << PageMask($1)) } }

/// Page `number` of `content`.
func page(_ number: Int, of content: [UInt8]) -> [UInt8] {
  Array(content[number * pageByteCount..<(number + 1) * pageByteCount])
}

func isZero(_ page: [UInt8]) -> Bool { page.allSatisfy { $0 == 0 } }

/// Pages of a block, known by their numbers in it.
func pages(of map: SpanMap) -> Set<Int> {
  Set((0..<map.spanCount).flatMap { span in pageNumbers(map.pages(span: span)).map { span * 64 + $0 } })
}

/// What a snapshot of one span gave.
struct Taken {
  var result: Snapshot.Result
  var staging: [UInt8]

  init(_ source: any SourceMemory, block: Int = 0, span: Int, wanted: PageMask) throws {
    var staging = [UInt8](repeating: 0xa5, count: wanted.nonzeroBitCount * pageByteCount)
    result = try withMutableSpan(&staging) { try source.snapshot(block: block, span: span, wanted: wanted, into: &$0) }
    self.staging = staging
  }

  /// How this differs from what it should be, given the block's content, or nil.
  func difference(from block: [UInt8], span: Int, wanted: PageMask) -> String? {
    let content = pageNumbers(wanted).map { (number: $0, bytes: page(span * 64 + $0, of: block)) }
    let zeros = mask(content.filter { isZero($0.bytes) }.map { $0.number })
    let data = content.filter { !isZero($0.bytes) }
    guard result.zeroMask == zeros else {
      return "pages \(pageNumbers(result.zeroMask ^ zeros)) of span \(span) are misjudged as zero or not"
    }
    guard result.copiedPageCount == data.count else { return "\(result.copiedPageCount) pages, not \(data.count)" }
    for (slot, expected) in data.enumerated() where page(slot, of: staging) != expected.bytes {
      return "page \(expected.number) of span \(span), in slot \(slot), has other content"
    }
    return nil
  }
}
