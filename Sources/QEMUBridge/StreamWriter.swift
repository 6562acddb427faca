// SPDX-License-Identifier: Apache-2.0
import HostSystem
public import SystemPackage
public import Transport

/// Where a stream's bytes go.
public protocol ByteSink {
  /// Takes all parts, in order, and empties the vector.
  mutating func write(_ parts: IOVector) throws(TransportError)
}

extension Connection: ByteSink {
  public func write(_ parts: IOVector) throws(TransportError) { try send(parts) }
}

/// A file, a pipe or a socket: writev(2).
public struct DescriptorSink: ByteSink {
  private let descriptor: FileDescriptor

  /// - Parameter descriptor: stays the caller's, who closes it.
  public init(_ descriptor: FileDescriptor) { self.descriptor = descriptor }

  public mutating func write(_ parts: IOVector) throws(TransportError) {
    do throws(Errno) { try parts.write(to: descriptor) } catch { throw .failed(error) }
  }
}

/// Writes QEMU's migration stream.
///
/// What is not a page is passed on as it came (``verbatim(_:)``). Page records are made anew, in any order within their section: a
/// record that is of the same block as the one before says so (CONTINUE), whatever it did where it came from. A destination
/// takes only the last version of a page; a delta only onto the version that it was made against.
///
/// What is written is collected, and goes to the sink when the buffer is full and at ``flush()``: after a command, and after a
/// section, where QEMU itself flushes. Belongs to one thread. After an error it is not to be used.
@safe public struct StreamWriter: ~Copyable {
  private let buffer: PageBuffer
  private var sink: any ByteSink
  private let parts = IOVector()
  /// Bytes of the buffer in use, and from where on they are not in the vector yet.
  private var used = 0
  private var pending = 0
  private var names: [[UInt8]] = []
  private var pageByteCount = 4096
  /// The block of the last page record.
  public private(set) var lastBlock: Int?
  /// Bytes that have been written or collected.
  public private(set) var byteCount: UInt64 = 0

  public static let bufferByteCountDefault = 256 << 10

  /// - Parameter bufferByteCount: raised to what the largest record takes.
  public init(_ sink: any ByteSink, bufferByteCount: Int = bufferByteCountDefault) throws(Errno) {
    self.sink = sink
    buffer = try PageBuffer(byteCount: max(bufferByteCount, 2 << Int(StreamLimits.pageBits.upperBound)))
  }

  /// Says what the blocks' names are, for page records: by a block's place in `blocks`. Writes nothing.
  /// - Parameter pageByteCount: the target's.
  public mutating func declare(_ blocks: [StreamBlock], pageByteCount: Int) {
    names = blocks.map { $0.nameBytes }
    self.pageByteCount = pageByteCount
  }

  /// Anything that is not a page record, as it is: header, configuration, commands, lists of blocks, footers, what is opaque.
  public mutating func verbatim(_ bytes: RawSpan) throws(TransportError) { try append(bytes) }

  /// Magic and version.
  public mutating func header() throws(TransportError) {
    try room(8)
    put(StreamFormat.magic)
    put(StreamFormat.version)
  }

  /// Begins a further piece of the RAM section.
  public mutating func section(_ kind: SectionKind, id: UInt32) throws(TransportError) {
    precondition(kind != .start, "a section's start has more than its number: pass it on as it is")
    try room(5)
    put(kind.rawValue)
    put(id)
  }

  /// Ends the records of a section.
  public mutating func endOfRecords() throws(TransportError) {
    try room(8)
    put(StreamFormat.Record.endOfRecords)
  }

  /// Ends a section, where sections have footers.
  public mutating func footer(id: UInt32) throws(TransportError) {
    try room(5)
    put(StreamFormat.Element.footer)
    put(id)
  }

  /// A page's bytes, copied.
  public mutating func page(block: Int, offset: UInt64, _ page: RawSpan) throws(TransportError) {
    precondition(page.byteCount == pageByteCount, "a whole page")
    try record(StreamFormat.Record.page, block, offset, room: pageByteCount)
    try append(page)
  }

  /// A page's bytes, where they are: without a copy.
  /// - Parameter page: stays as it is until ``flush()`` has returned.
  @unsafe public mutating func page(
    block: Int, offset: UInt64, inPlace page: UnsafeRawBufferPointer
  ) throws(TransportError) {
    precondition(page.count == pageByteCount, "a whole page")
    // The record's head and the page.
    if parts.freeCount < 3 { try flush() }
    try record(StreamFormat.Record.page, block, offset, room: 0)
    collect()
    unsafe parts.append(page)
    byteCount += UInt64(page.count)
  }

  /// `count` pages of zeros, from `offset` on.
  public mutating func zero(block: Int, offset: UInt64, count: Int = 1) throws(TransportError) {
    for page in 0..<count { try filled(block: block, offset: offset + UInt64(page * pageByteCount), with: 0) }
  }

  /// A page whose bytes are all `fill`; QEMU 10 takes 0 only.
  public mutating func filled(block: Int, offset: UInt64, with fill: UInt8) throws(TransportError) {
    try record(StreamFormat.Record.zero, block, offset, room: 1)
    put(fill)
  }

  /// A delta onto the version of the page that was written last.
  public mutating func xbzrle(block: Int, offset: UInt64, _ delta: RawSpan) throws(TransportError) {
    precondition(delta.byteCount <= pageByteCount, "a delta is not longer than a page")
    try record(StreamFormat.Record.xbzrle, block, offset, room: 3 + delta.byteCount)
    put(UInt8(1))
    put(UInt16(delta.byteCount))
    try append(delta)
  }

  /// A page as a zlib stream: for destinations with `compress`, which QEMU 9.1 has no more.
  public mutating func compressed(block: Int, offset: UInt64, _ stream: RawSpan) throws(TransportError) {
    precondition(
      stream.byteCount <= StreamLimits.compressedByteCountMax(page: pageByteCount), "no longer than zlib makes it")
    try record(StreamFormat.Record.compressed, block, offset, room: 4 + stream.byteCount)
    put(UInt32(stream.byteCount))
    try append(stream)
  }

  /// A page record as it was read, with CONTINUE by what was written before it.
  public mutating func record(_ record: PageRecord, _ payload: RawSpan) throws(TransportError) {
    switch record.encoding {
    case .zero: try filled(block: record.block, offset: record.offset, with: record.fill)
    case .plain: try page(block: record.block, offset: record.offset, payload)
    case .xbzrle: try xbzrle(block: record.block, offset: record.offset, payload)
    case .compressed: try compressed(block: record.block, offset: record.offset, payload)
    }
  }

  /// Hands everything to the sink.
  public mutating func flush() throws(TransportError) {
    collect()
    if parts.remainingByteCount > 0 { try sink.write(parts) }
    used = 0
    pending = 0
  }

  /// The head of a page record, with room for `room` bytes behind it.
  private mutating func record(
    _ kind: UInt64, _ block: Int, _ offset: UInt64, room count: Int
  ) throws(TransportError) {
    precondition(offset & UInt64(pageByteCount - 1) == 0, "a page begins at a multiple of its size")
    if block == lastBlock {
      try room(8 + count)
      put(offset | kind | StreamFormat.Record.isContinued)
      return
    }
    let nameCount = names[block].count
    try room(9 + nameCount + count)
    put(offset | kind)
    put(UInt8(nameCount))
    unsafe names[block].withUnsafeBytes { unsafe copy($0) }
    lastBlock = block
  }

  /// Has room for `count` bytes, which are fewer than the buffer has.
  private mutating func room(_ count: Int) throws(TransportError) {
    if buffer.byteCount - used < count || parts.freeCount < 2 { try flush() }
  }

  /// Bytes of any number.
  private mutating func append(_ bytes: RawSpan) throws(TransportError) {
    var done = 0
    while done < bytes.byteCount {
      if used == buffer.byteCount { try flush() }
      let count = min(bytes.byteCount - done, buffer.byteCount - used)
      unsafe bytes.extracting(done..<done + count).withUnsafeBytes { unsafe copy($0) }
      done += count
    }
  }

  /// Bytes that there is room for.
  private mutating func copy(_ bytes: UnsafeRawBufferPointer) {
    precondition(bytes.count <= buffer.byteCount - used, "room was made before")
    guard let from = bytes.baseAddress else { return }
    // SAFETY: inside the buffer, by the precondition; the buffer is exclusively ours.
    unsafe (buffer.unsafeBase + used).copyMemory(from: from, byteCount: bytes.count)
    used += bytes.count
    byteCount += UInt64(bytes.count)
  }

  private mutating func put<Value: FixedWidthInteger & BitwiseCopyable>(_ value: Value) {
    let count = MemoryLayout<Value>.size
    precondition(count <= buffer.byteCount - used, "room was made before")
    // SAFETY: as above.
    unsafe (buffer.unsafeBase + used).storeBytes(of: value.bigEndian, as: Value.self)
    used += count
    byteCount += UInt64(count)
  }

  /// Puts what was copied since the last part into the vector.
  private mutating func collect() {
    guard used > pending else { return }
    unsafe parts.append(UnsafeRawBufferPointer(start: buffer.unsafeBase + pending, count: used - pending))
    pending = used
  }
}
