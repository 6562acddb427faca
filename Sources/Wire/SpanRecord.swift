// SPDX-License-Identifier: Apache-2.0
public import PageModel

/// What a frame says about one span of one RAM block, or about a run of all-zero spans: 32 bytes.
///
/// Bit *i* of a mask is page *i* of the span, so that no record can point outside its span; the masks are disjoint.
public enum SpanRecord: Equatable, Sendable {
  /// Pages of one span by class: zero (no payload), data and delta (payload in ascending page order).
  case span(block: Int, index: Int, zero: PageMask, data: PageMask, delta: PageMask)
  /// Every page of `count` consecutive spans is zero.
  case zeroRun(block: Int, index: Int, count: Int)

  /// Bytes of a record.
  public static let byteCount = 32

  private enum Kind: UInt8 {
    case span = 0
    case zeroRun = 1
  }

  /// Writes the record to the first 32 bytes of `out`.
  public func encode(into out: inout MutableRawSpan) {
    switch self {
    case .span(let block, let index, let zero, let data, let delta):
      Self.put(.span, block: block, index: index, words: (zero, data, delta), into: &out)
    case .zeroRun(let block, let index, let count):
      Self.put(.zeroRun, block: block, index: index, words: (UInt64(count), 0, 0), into: &out)
    }
  }

  private static func put(
    _ kind: Kind, block: Int, index: Int, words: (UInt64, UInt64, UInt64), into out: inout MutableRawSpan
  ) {
    out.store(UInt16(block), at: 0)
    out.store(kind.rawValue, at: 2)
    out.store(UInt8(0), at: 3)
    out.store(UInt32(index), at: 4)
    out.store(words.0, at: 8)
    out.store(words.1, at: 16)
    out.store(words.2, at: 24)
  }

  /// Reads a record and checks it against the session's RAM blocks: after this, every page that it names exists.
  /// - Parameter bytes: at least 32.
  public init(decoding bytes: RawSpan, blocks: BlockTable) throws(WireError) {
    guard bytes.byteCount >= Self.byteCount else { throw .truncated(what: "a span record") }
    let block = Int(bytes.load(0, as: UInt16.self))
    let rawKind: UInt8 = bytes.load(2)
    let index = Int(bytes.load(4, as: UInt32.self))
    guard let kind = Kind(rawValue: rawKind) else { throw .badValue(what: "a record's kind", found: UInt64(rawKind)) }
    guard block < blocks.blocks.count else { throw .blockUnknown(found: block, blockCount: blocks.blocks.count) }
    let spanCount = blocks.spanCount(block: block)
    guard index < spanCount else { throw .spanOutsideBlock(block: block, span: index, spanCount: spanCount) }
    let words: (UInt64, UInt64, UInt64) = (bytes.load(8), bytes.load(16), bytes.load(24))
    switch kind {
    case .span:
      guard words.0 & words.1 == 0, (words.0 | words.1) & words.2 == 0 else {
        throw .masksOverlap(block: block, span: index)
      }
      guard (words.0 | words.1 | words.2) & ~blocks.pages(block: block, span: index) == 0 else {
        throw .pageOutsideBlock(block: block, span: index)
      }
      self = .span(block: block, index: index, zero: words.0, data: words.1, delta: words.2)
    case .zeroRun:
      guard words.0 > 0, words.0 <= UInt64(spanCount - index) else {
        throw .spanOutsideBlock(block: block, span: Int(clamping: words.0), spanCount: spanCount)
      }
      guard words.1 == 0, words.2 == 0 else {
        throw .badValue(what: "a zero run's unused words", found: words.1 != 0 ? words.1 : words.2)
      }
      self = .zeroRun(block: block, index: index, count: Int(words.0))
    }
  }
}
