// SPDX-License-Identifier: Apache-2.0

extension StreamReader {
  /// The next record of a RAM section.
  @inline(__always)
  mutating func nextRecord() throws(StreamError) -> StreamElement? {
    try need(8, .record)
    let word: UInt64 = buffer.load(0)
    let flags = word & StreamFormat.Record.mask
    let inPage = UInt64(pageByteCount - 1)
    guard word & inPage & ~StreamFormat.Record.mask == 0 else {
      return try turnOpaque(.unknownRecord(flags: word & inPage))
    }
    let offset = word & ~(inPage | StreamFormat.Record.mask)
    switch flags & ~StreamFormat.Record.isContinued {
    case StreamFormat.Record.page:
      return try pageRecord(.plain, flags, offset)
    case StreamFormat.Record.zero:
      return try pageRecord(.zero, flags, offset)
    case StreamFormat.Record.xbzrle:
      return try pageRecord(.xbzrle, flags, offset)
    case StreamFormat.Record.compressed:
      return try pageRecord(.compressed, flags, offset)
    default: return try nextMark(flags, offset)
    }
  }

  /// A record that is no page.
  @inline(never)
  private mutating func nextMark(_ flags: UInt64, _ offset: UInt64) throws(StreamError) -> StreamElement? {
    switch flags {
    case StreamFormat.Record.endOfRecords: return endRecords()
    case StreamFormat.Record.multifdFlush: return element(.multifdFlush, 8)
    case StreamFormat.Record.blockList: return try nextBlockList(total: offset)
    default: return try turnOpaque(.unknownRecord(flags: flags))
    }
  }

  @inline(__always)
  private mutating func pageRecord(
    _ encoding: PageRecord.Encoding, _ flags: UInt64, _ offset: UInt64
  ) throws(StreamError) -> StreamElement {
    let isContinued = flags & StreamFormat.Record.isContinued != 0
    var head = 8
    let block: Int
    if isContinued {
      guard let lastBlock else { throw malformed(.continuesNothing) }
      block = lastBlock
    } else {
      (block, head) = try namedBlock()
      lastBlock = block
    }
    let length = blockByteCounts[block]
    guard length >= UInt64(pageByteCount), offset <= length - UInt64(pageByteCount) else {
      throw malformed(.pageOutsideBlock(block: blocks[block].name, offset: offset, byteCount: length))
    }
    var fill: UInt8 = 0
    var count = 0
    switch encoding {
    case .plain: count = pageByteCount
    case .zero:
      try need(head + 1, .record)
      fill = buffer.load(head)
      head += 1
    case .xbzrle: (head, count) = try deltaHeader(head)
    case .compressed: (head, count) = try compressedHeader(head)
    }
    try need(head + count, .record)
    let record = PageRecord(
      encoding: encoding, fill: fill, isContinued: isContinued, block: block, offset: offset,
      head: head, payloadByteCount: count)
    return element(.page(record), head + count)
  }

  /// The block that a record names, and where its content begins.
  @inline(never)
  private mutating func namedBlock() throws(StreamError) -> (block: Int, head: Int) {
    try need(9, .record)
    let end = 9 + Int(buffer.load(8, as: UInt8.self))
    try need(end, .record)
    let name = unsafe buffer.bytes(9..<end)
    for index in blocks.indices where unsafe blocks[index].nameBytes.elementsEqual(name) { return (index, end) }
    throw malformed(.unknownBlock(unsafe String(decoding: name, as: UTF8.self)))
  }

  private mutating func deltaHeader(_ at: Int) throws(StreamError) -> (head: Int, count: Int) {
    try need(at + 3, .record)
    let kind: UInt8 = buffer.load(at)
    guard kind == 1 else { throw malformed(.badDeltaHeader(found: kind)) }
    let count = Int(buffer.load(at + 1, as: UInt16.self))
    guard count <= pageByteCount else {
      throw malformed(.tooLong(what: "an XBZRLE page", found: UInt64(count), allowed: UInt64(pageByteCount)))
    }
    return (at + 3, count)
  }

  private mutating func compressedHeader(_ at: Int) throws(StreamError) -> (head: Int, count: Int) {
    try need(at + 4, .record)
    let count = buffer.load(at, as: UInt32.self)
    let allowed = StreamLimits.compressedByteCountMax(page: pageByteCount)
    guard count <= allowed else {
      throw malformed(.tooLong(what: "a compressed page", found: UInt64(count), allowed: UInt64(allowed)))
    }
    return (at + 4, Int(count))
  }
}
