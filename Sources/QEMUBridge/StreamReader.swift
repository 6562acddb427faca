// SPDX-License-Identifier: Apache-2.0

/// Reads QEMU's migration stream (the main channel), element by element, as it comes.
///
/// A pull parser with one buffer: it never seeks, allocates nothing per element, and checks every length before it is used.
/// Pages are handed out where the source has put them. Each call of ``next()`` reads no further than the end of its element
/// needs, so that it can stand between a source that waits for an answer and a destination that gives it.
///
/// From the first thing that cannot be parsed (in every stream the devices' state, at the end of RAM) all that follows comes as
/// ``StreamElement/Kind/opaque`` parts, none of it lost. ``OpaqueCause/unknownRecord(flags:)`` and
/// ``OpaqueCause/capability(_:)`` are found inside a section: whoever has left records out or changed their order must then
/// see to it that the last record which went on is of ``lastBlock``, which what is opaque may continue.
///
/// Belongs to one thread. After an error it is not to be used.
@safe public struct StreamReader: ~Copyable {
  var buffer: StreamBuffer
  private var place = Place.header
  private var byteCount = 0

  /// Bytes of a page: 4096, unless the configuration says otherwise.
  public internal(set) var pageByteCount = 4096
  /// What the configuration has said; nil if there was none (very old machines), or not yet.
  public internal(set) var configuration: StreamConfiguration?
  /// The RAM blocks, once they have been declared.
  public internal(set) var blocks: [StreamBlock] = []
  /// Lengths of the blocks: looking one up retains nothing.
  var blockByteCounts: [UInt64] = []
  /// The block of the last page record, which one that continues refers to.
  public internal(set) var lastBlock: Int?
  /// Number of the RAM section, once it has begun.
  public private(set) var ramSection: UInt32?
  /// Whether sections have footers; nil until the first one has ended.
  public private(set) var hasFooters: Bool?
  /// Whether the RAM section has ended.
  public private(set) var isRAMComplete = false
  /// Page sizes of all blocks, or-ed, if `POSTCOPY_ADVISE` has said so.
  var pageSizeSummary: UInt64?
  /// Why the stream is opaque, once it is.
  public private(set) var opaqueCause: OpaqueCause?

  enum Place {
    case header, configuration, boundary, packaged(left: Int), records, footer, afterState, opaque
  }

  private var sectionKind = SectionKind.start

  /// Largest part of what is opaque or packaged, and the usual room for what is read at once.
  public static let bufferByteCountDefault = 512 << 10

  /// - Parameter bufferByteCount: raised to what the largest element takes.
  public init(
    _ source: any ByteSource, bufferByteCount: Int = bufferByteCountDefault
  ) throws(StreamError) {
    buffer = try StreamBuffer(source, byteCount: max(bufferByteCount, StreamLimits.elementByteCountMax))
  }

  /// Where the element under way begins; at the end, the stream's length.
  public var offset: UInt64 { buffer.offset }

  /// Bytes behind the last element that were read already.
  var aheadByteCount: Int { buffer.byteCount - byteCount }

  /// The last element's bytes, in place, until ``next()`` is called again.
  @unsafe public var elementBytes: UnsafeRawBufferPointer { unsafe buffer.bytes(0..<byteCount) }

  /// Calls `body` with the last element's bytes.
  @inlinable public func withElement<Result, Failure: Error>(
    _ body: (RawSpan) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    // SAFETY: the bytes stay where they are while self is borrowed.
    try body(unsafe RawSpan(_unsafeBytes: elementBytes))
  }

  /// Calls `body` with a page record's payload; the record is the last element's.
  @inlinable public func withPayload<Result, Failure: Error>(
    of record: PageRecord, _ body: (RawSpan) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    // SAFETY: as above; slicing checks that the payload is inside.
    try body(unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(rebasing: elementBytes[record.payload])))
  }

  /// The next element, once all of it has come; nil at the end of the stream.
  ///
  /// The end is where it may be: after the RAM section, or while the stream is opaque. Anywhere else it is
  /// ``StreamError/truncated(offset:inside:)``.
  public mutating func next() throws(StreamError) -> StreamElement? {
    buffer.consume(byteCount)
    byteCount = 0
    // By far the most frequent.
    if case .records = place { return try nextRecord() }
    switch place {
    case .header: return try nextHeader()
    case .configuration:
      place = .boundary
      if try buffer.fill(1), buffer.load(0, as: UInt8.self) == StreamFormat.Element.configuration {
        return try nextConfiguration()
      }
      return try nextAtBoundary()
    case .packaged(let left): return try nextPackaged(left)
    case .footer:
      place = .boundary
      if let footer = try nextFooter() { return footer }
      return try nextAtBoundary()
    case .afterState: return try turnOpaque(.afterState)
    case .opaque: return try nextOpaque()
    case .boundary, .records: return try nextAtBoundary()
    }
  }

  /// Has `count` bytes of the element, or throws.
  @inline(__always)
  mutating func need(_ count: Int, _ part: @autoclosure () -> StreamPart) throws(StreamError) {
    guard try buffer.fill(count) else {
      throw .truncated(offset: buffer.offset + UInt64(buffer.byteCount), inside: part())
    }
  }

  func malformed(_ fault: StreamFault) -> StreamError { .malformed(offset: buffer.offset, fault) }

  @inline(__always)
  mutating func element(_ kind: StreamElement.Kind, _ count: Int) -> StreamElement {
    byteCount = count
    return StreamElement(offset: buffer.offset, byteCount: count, kind: kind)
  }

  /// From the element under way on, nothing is parsed.
  mutating func turnOpaque(_ cause: OpaqueCause) throws(StreamError) -> StreamElement? {
    opaqueCause = cause
    place = .opaque
    return try nextOpaque()
  }

  /// From the next element on nothing is parsed.
  mutating func passOver(_ cause: OpaqueCause) {
    opaqueCause = cause
    place = .opaque
  }

  private mutating func nextOpaque() throws(StreamError) -> StreamElement? {
    guard try buffer.fill(1) else { return nil }
    return element(.opaque, buffer.byteCount)
  }

  private mutating func nextHeader() throws(StreamError) -> StreamElement {
    try need(4, .header)
    let magic = buffer.load(0, as: UInt32.self)
    guard magic == StreamFormat.magic else { throw malformed(.foreignMagic(found: magic)) }
    try need(8, .header)
    let version = buffer.load(4, as: UInt32.self)
    guard version == StreamFormat.version else { throw malformed(.versionUnsupported(found: version)) }
    place = .configuration
    return element(.header, 8)
  }

  private mutating func nextAtBoundary() throws(StreamError) -> StreamElement? {
    guard try buffer.fill(1) else {
      if isRAMComplete { return nil }
      throw .truncated(offset: buffer.offset, inside: .betweenSections)
    }
    let type = buffer.load(0, as: UInt8.self)
    switch type {
    case StreamFormat.Element.command: return try nextCommand()
    case StreamFormat.Element.sectionStart, StreamFormat.Element.sectionFull: return try nextStart(type)
    case StreamFormat.Element.sectionPart: return try nextSection(.part)
    case StreamFormat.Element.sectionEnd: return try nextSection(.end)
    case StreamFormat.Element.endOfState:
      place = .afterState
      return element(.endOfState, 1)
    default: return try turnOpaque(.unknownElement(type))
    }
  }

  private mutating func nextStart(_ type: UInt8) throws(StreamError) -> StreamElement? {
    try need(6, .sectionHeader)
    let nameEnd = 6 + Int(buffer.load(5, as: UInt8.self))
    try need(nameEnd + 8, .sectionHeader)
    let name = buffer.array(6..<nameEnd)
    let version = buffer.load(nameEnd + 4, as: UInt32.self)
    let isRAM =
      name.elementsEqual("ram".utf8) && type == StreamFormat.Element.sectionStart && ramSection == nil
      && buffer.load(nameEnd, as: UInt32.self) == 0 && version == StreamFormat.ramVersion
    guard isRAM else {
      let text = String(decoding: name, as: UTF8.self)
      return try turnOpaque(
        type == StreamFormat.Element.sectionFull ? .device(text) : .section(text, version: version))
    }
    let id = buffer.load(1, as: UInt32.self)
    ramSection = id
    return begin(.start, id: id, nameEnd + 8)
  }

  private mutating func nextSection(_ kind: SectionKind) throws(StreamError) -> StreamElement? {
    try need(5, .sectionHeader)
    let id = buffer.load(1, as: UInt32.self)
    guard id == ramSection, !isRAMComplete else { return try turnOpaque(.unknownSection(id: id)) }
    return begin(kind, id: id, 5)
  }

  private mutating func begin(_ kind: SectionKind, id: UInt32, _ count: Int) -> StreamElement {
    sectionKind = kind
    place = .records
    return element(.section(kind, id: id), count)
  }

  /// The records of the section have ended.
  mutating func endRecords() -> StreamElement {
    isRAMComplete = sectionKind == .end
    place = hasFooters == false ? .boundary : .footer
    return element(.endOfRecords, 8)
  }

  /// The footer, or nil where sections have none: told by what follows the first of them.
  private mutating func nextFooter() throws(StreamError) -> StreamElement? {
    guard try buffer.fill(1) else {
      if hasFooters == nil, isRAMComplete { return nil }
      throw .truncated(offset: buffer.offset, inside: .footer)
    }
    let isFooter = buffer.load(0, as: UInt8.self) == StreamFormat.Element.footer
    guard hasFooters ?? isFooter else {
      hasFooters = false
      return nil
    }
    hasFooters = true
    let id = ramSection ?? 0
    guard isFooter else { throw malformed(.badFooter(section: id)) }
    try need(5, .footer)
    guard buffer.load(1, as: UInt32.self) == id else { throw malformed(.badFooter(section: id)) }
    return element(.footer(id: id), 5)
  }

  /// What has come of a packaged stream.
  private mutating func nextPackaged(_ left: Int) throws(StreamError) -> StreamElement {
    try need(1, .packagedStream)
    let count = min(left, buffer.byteCount)
    place = count == left ? .boundary : .packaged(left: left - count)
    return element(.packaged(left: left - count), count)
  }

  /// The next elements are parts of a packaged stream.
  mutating func expectPackaged(_ count: Int) {
    if count > 0 { place = .packaged(left: count) }
  }
}

/// Numbers of the format.
enum StreamFormat {
  /// "QEVM"
  static let magic: UInt32 = 0x5145_564d
  static let version: UInt32 = 3
  static let ramVersion: UInt32 = 4

  /// First bytes of elements.
  enum Element {
    static let endOfState: UInt8 = 0
    static let sectionStart: UInt8 = 1
    static let sectionPart: UInt8 = 2
    static let sectionEnd: UInt8 = 3
    static let sectionFull: UInt8 = 4
    static let subsection: UInt8 = 5
    static let configuration: UInt8 = 7
    static let command: UInt8 = 8
    static let footer: UInt8 = 0x7e
  }

  /// Flags in the low bits of a RAM record's first word.
  enum Record {
    static let mask: UInt64 = 0x3ff
    static let zero: UInt64 = 0x2
    static let blockList: UInt64 = 0x4
    static let page: UInt64 = 0x8
    static let endOfRecords: UInt64 = 0x10
    static let isContinued: UInt64 = 0x20
    static let xbzrle: UInt64 = 0x40
    static let compressed: UInt64 = 0x100
    static let multifdFlush: UInt64 = 0x200
  }
}
