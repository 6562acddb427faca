// SPDX-License-Identifier: Apache-2.0

/// What comes on a multifd channel. A plain value: what it refers to is in the reader, until the next element.
public struct MultifdElement: BitwiseCopyable, Sendable {
  /// Where it begins, in bytes from the channel's first.
  public let offset: UInt64
  public let byteCount: Int
  public let kind: Kind

  public enum Kind: BitwiseCopyable, Sendable, Equatable {
    /// The channel says who it is: ``MultifdReader/channel``, ``MultifdReader/uuid``.
    case opening
    case packet(MultifdPacket)
    /// A part of what cannot be parsed, from there to the end: compressed pages, or a device's state.
    case opaque
  }
}

/// A packet of pages of one block.
public struct MultifdPacket: BitwiseCopyable, Sendable, Equatable {
  public let flags: UInt32
  /// Its place in the order of all channels' packets.
  public let number: UInt64
  /// Pages with their bytes: those of ``MultifdReader/pageOffset(_:)`` 0 and up.
  public let pageCount: Int
  /// Pages of zeros, whose offsets follow (QEMU 9.0 and later).
  public let zeroPageCount: Int
  let head: Int
  let payloadByteCount: Int

  /// The pages among the element's bytes, back to back.
  public var payload: Range<Int> { head..<head + payloadByteCount }

  /// Bytes before the pages, however few offsets are in use.
  static func headByteCount(pageByteCount: Int) -> Int {
    MultifdReader.fixedByteCount + 8 * (StreamLimits.multifdByteCountMax / pageByteCount)
  }

  /// Whether this channel has come to a barrier: the next one of the main channel, or of every other channel, is the same.
  public var isSync: Bool { flags & 1 != 0 }
}

/// Reads a multifd channel of QEMU's migration, packet by packet; see ``StreamReader``.
@safe public struct MultifdReader: ~Copyable {
  private var buffer: StreamBuffer
  private var byteCount = 0
  private let pageByteCount: Int
  private var isOpen = false
  /// Number of the channel, once it has said so.
  public private(set) var channel: UInt8 = 0
  /// The migration's, 16 bytes, once the channel has said so.
  public private(set) var uuid: [UInt8] = []
  /// Why the channel is opaque, once it is.
  public private(set) var opaqueCause: OpaqueCause?

  private static let openingByteCount = 64
  fileprivate static let fixedByteCount = 320
  private static let nameRange = 64..<320
  private static let magic: UInt32 = 0x1122_3344
  /// Flags of packets that are pages, not compressed: only SYNC.
  private static let plainFlags: UInt32 = 1

  /// - Parameter pageByteCount: the target's, as the main channel says it.
  public init(_ source: any ByteSource, pageByteCount: Int = 4096) throws(StreamError) {
    self.pageByteCount = pageByteCount
    buffer = try StreamBuffer(
      source,
      byteCount: Self.fixedByteCount + 8 * StreamLimits.multifdByteCountMax / pageByteCount
        + StreamLimits.multifdByteCountMax + 64 << 10)
  }

  /// Most pages in a packet; every packet has room for so many offsets.
  public var pageCountMax: Int { StreamLimits.multifdByteCountMax / pageByteCount }

  private var headByteCount: Int { MultifdPacket.headByteCount(pageByteCount: pageByteCount) }

  /// The last element's bytes, in place, until ``next()`` is called again.
  @unsafe public var elementBytes: UnsafeRawBufferPointer { unsafe buffer.bytes(0..<byteCount) }

  /// Calls `body` with the last element's bytes.
  @inlinable public func withElement<Result, Failure: Error>(
    _ body: (RawSpan) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    // SAFETY: the bytes stay where they are while self is borrowed.
    try body(unsafe RawSpan(_unsafeBytes: elementBytes))
  }

  /// Where page `index` of the last packet lies in its block; zero pages follow the others. A peer's word: it may be anything.
  public func pageOffset(_ index: Int) -> UInt64 {
    precondition(index >= 0 && index < pageCountMax, "a packet has no more pages")
    return buffer.load(Self.fixedByteCount + 8 * index)
  }

  /// Whether the last packet's pages are of the block of that name.
  public func isBlock(named name: [UInt8]) -> Bool {
    let field = unsafe buffer.bytes(Self.nameRange)
    return unsafe name.count < field.count && field[name.count] == 0 && field.prefix(name.count).elementsEqual(name)
  }

  /// The name of the last packet's block.
  public var blockName: String {
    unsafe String(decoding: buffer.bytes(Self.nameRange).prefix { $0 != 0 }, as: UTF8.self)
  }

  /// The last packet's block, by its place in `blocks`.
  func block(of blocks: [StreamBlock]) throws(StreamError) -> Int {
    guard let block = blocks.firstIndex(where: { isBlock(named: $0.nameBytes) }) else {
      throw malformed(.unknownBlock(blockName))
    }
    return block
  }

  /// The same as ``pageOffset(_:)``, once it is known that the page lies in that block, at a multiple of its size.
  func place(_ index: Int, block: Int, of blocks: [StreamBlock]) throws(StreamError) -> UInt64 {
    let offset = pageOffset(index)
    let page = UInt64(pageByteCount)
    guard offset.isMultiple(of: page) else { throw malformed(.unalignedPage(offset: offset)) }
    let length = blocks[block].byteCount
    guard length >= page, offset <= length - page else {
      throw malformed(.pageOutsideBlock(block: blocks[block].name, offset: offset, byteCount: length))
    }
    return offset
  }

  /// Page `index` of the last packet, in place, until ``next()`` is called again.
  @unsafe func page(_ index: Int, of packet: MultifdPacket) -> UnsafeRawBufferPointer {
    precondition(index >= 0 && index < packet.pageCount, "a page with bytes")
    let first = packet.head + index * pageByteCount
    return unsafe buffer.bytes(first..<first + pageByteCount)
  }

  /// The next element, once all of it has come; nil at the channel's end, which is between packets.
  public mutating func next() throws(StreamError) -> MultifdElement? {
    buffer.consume(byteCount)
    byteCount = 0
    if !isOpen { return try nextOpening() }
    guard try buffer.fill(1) else { return nil }
    if opaqueCause != nil { return element(.opaque, buffer.byteCount) }
    return try nextPacket()
  }

  private mutating func need(_ count: Int, _ part: StreamPart) throws(StreamError) {
    guard try buffer.fill(count) else {
      throw .truncated(offset: buffer.offset + UInt64(buffer.byteCount), inside: part)
    }
  }

  private func malformed(_ fault: StreamFault) -> StreamError { .malformed(offset: buffer.offset, fault) }

  private mutating func element(_ kind: MultifdElement.Kind, _ count: Int) -> MultifdElement {
    byteCount = count
    return MultifdElement(offset: buffer.offset, byteCount: count, kind: kind)
  }

  private mutating func checkMagic(_ part: StreamPart) throws(StreamError) {
    try need(8, part)
    let magic: UInt32 = buffer.load(0)
    guard magic == Self.magic else { throw malformed(.foreignMagic(found: magic)) }
    let version: UInt32 = buffer.load(4)
    guard version == 1 else { throw malformed(.versionUnsupported(found: version)) }
  }

  private mutating func nextOpening() throws(StreamError) -> MultifdElement {
    try checkMagic(.multifdOpening)
    try need(Self.openingByteCount, .multifdOpening)
    uuid = buffer.array(8..<24)
    channel = buffer.load(24)
    isOpen = true
    return element(.opening, Self.openingByteCount)
  }

  private mutating func nextPacket() throws(StreamError) -> MultifdElement {
    try checkMagic(.multifdPacket)
    try need(12, .multifdPacket)
    let flags: UInt32 = buffer.load(8)
    guard flags & ~Self.plainFlags == 0 else {
      opaqueCause = .multifd(flags: flags)
      return element(.opaque, buffer.byteCount)
    }
    let head = headByteCount
    try need(head, .multifdPacket)
    let allocated: UInt32 = buffer.load(12)
    let normal: UInt32 = buffer.load(16)
    let zero: UInt32 = buffer.load(32)
    guard allocated <= pageCountMax, normal <= allocated, zero <= allocated - normal else {
      throw malformed(.badPageCounts(normal: normal, zero: zero, allocated: allocated, allowed: pageCountMax))
    }
    // Without pages the field is not to be looked at: QEMU before 8 leaves there what the packet before had.
    let expected = Int(normal) * pageByteCount
    let found: UInt32 = buffer.load(20)
    guard normal == 0 || found == expected else {
      throw malformed(.badPayloadLength(found: found, expected: expected))
    }
    try need(head + expected, .multifdPacket)
    let packet = MultifdPacket(
      flags: flags, number: buffer.load(24), pageCount: Int(normal), zeroPageCount: Int(zero),
      head: head,
      payloadByteCount: expected)
    return element(.packet(packet), head + expected)
  }
}
