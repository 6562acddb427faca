// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import HostSystem
import PageCodecs
import PageKernels
import PageModel
import Synchronization
import SystemPackage
import Transport
import Wire

/// What one data channel has delivered. The channel's thread adds, anyone reads.
final class ChannelCounters: Sendable {
  /// Frames applied, in the channel's order: the sequence number that is due next.
  let appliedFrames = Atomic<UInt64>(0)
  let zeroPages = Atomic<UInt64>(0)
  let dataPages = Atomic<UInt64>(0)
  let deltaPages = Atomic<UInt64>(0)
  /// Time in the codec and in writing guest memory, in ns.
  let codecNanoseconds = Atomic<UInt64>(0)
  let storeNanoseconds = Atomic<UInt64>(0)
}

/// Receives a channel's frames, checks each one whole, and applies it to guest memory.
///
/// Belongs to the channel's thread; its buffers are allocated once, at the protocol's limits, never by a number from
/// the wire. Nothing is written before the frame's lengths, masks and checksum have passed. Raw pages without a checksum
/// are received where they belong, if memory is mapped: what vouches for them is their block's digest.
final class ChannelReceiver {
  /// Bytes of a channel's buffers.
  static let bufferByteCount =
    FrameHeader.byteCount + WireLimits.frameByteCountMax + 2 * WireLimits.framePageCountMax * PageGeometry.pageByteCount

  private let number: Int
  private let connection: Connection
  private let memory: any DestinationMemory
  /// The same, if it is mapped here.
  private let mapped: (any MappedDestination)?
  /// Where raw pages go.
  private let vector = IOVector()
  /// Of the pages that have arrived since the last mark, per block; nil if they are not wanted, or memory is read back
  /// for them.
  private var digests: [BlockDigest]?
  private let blocks: BlockTable
  private let counters: ChannelCounters
  /// By tag; a session has at most a handful. One serves all lanes of the channel, or one lane if it has a history.
  private var codecs: [(tag: UInt8, lane: UInt16?, codec: any FrameCodec)]
  /// The tags of codecs with a history, which are made when a lane first uses one.
  private let historyTags: [UInt8]
  private let session: ReceivingPipeline.Session
  private var header: PageBuffer
  private var body: PageBuffer
  private var decoded: PageBuffer
  private var decodedDeltas: PageBuffer
  /// Where in the frame's delta part each delta is, in the order of its records.
  private var places: [Range<Int>] = []
  private var records = FrameBody()
  private var nextSequence: UInt64 = 0
  /// The last iteration that each lane has ended.
  private var markedIterations: [UInt32]

  /// - Parameters:
  ///   - number: from 1, as on the wire.
  ///   - node: that its buffers prefer; nil: none.
  init(
    number: Int, connection: Connection, memory: any DestinationMemory, session: ReceivingPipeline.Session,
    counters: ChannelCounters, node: Int? = nil
  ) throws(LaneError) {
    do throws(Errno) {
      header = try PageBuffer(byteCount: FrameHeader.byteCount)
      body = try PageBuffer(byteCount: WireLimits.frameByteCountMax, node: node)
      decoded = try PageBuffer(byteCount: WireLimits.framePageCountMax * PageGeometry.pageByteCount, node: node)
      decodedDeltas = try PageBuffer(
        byteCount: WireLimits.framePageCountMax * PageGeometry.pageByteCount, node: node)
    } catch { throw .noBuffers(error) }
    var codecs: [(tag: UInt8, lane: UInt16?, codec: any FrameCodec)] = []
    var historyTags: [UInt8] = []
    for tag in session.codecs where tag != .none {
      guard let type = CodecRegistry.codec(tag: tag) else {
        throw .codecNotAgreed(channel: number, tag: tag.rawValue)
      }
      if type is any HistoryCodec.Type {
        historyTags.append(tag.rawValue)
      } else {
        do throws(CodecError) {
          codecs.append((tag.rawValue, nil, try type.init(level: type.identity.defaultLevel)))
        } catch { throw .codec(error) }
      }
    }
    places.reserveCapacity(WireLimits.frameRecordCountMax * PageGeometry.pagesPerSpan)
    self.codecs = codecs
    self.historyTags = historyTags
    self.session = session
    self.number = number
    markedIterations = Array(repeating: 0, count: session.laneCount)
    self.connection = connection
    self.memory = memory
    mapped = memory as? any MappedDestination
    digests =
      session.features.contains(.digests) && mapped != nil
      ? Array(repeating: BlockDigest(), count: memory.blocks.blocks.count) : nil
    blocks = memory.blocks
    self.counters = counters
  }

  /// Receives and applies frames until `isStopped`.
  /// - Parameter onMark: called with lane and iteration for each end-of-iteration frame, and the digests of what has
  ///   arrived since the last.
  func run(
    isStopped: () -> Bool, isClosed: () -> Bool, onMark: (Int, UInt32, [BlockDigest]?) -> Void
  ) throws(LaneError) {
    while !isStopped() {
      let header = try receiveHeader()
      try receive(0..<header.summedByteCount)
      do throws(WireError) {
        try body.withBytes(0..<header.summedByteCount) { (bytes) throws(WireError) in
          try records.decode(bytes, header: header, blocks: blocks, features: session.features)
        }
      } catch { throw .wire(channel: number, error) }
      if isClosed() { throw .wire(channel: number, .frameAfterLast) }
      try checkIteration(header)
      if header.type == .pages { try take(header) }
      nextSequence += 1
      counters.appliedFrames.store(nextSequence, ordering: .relaxed)
      if header.type == .endOfIteration { onMark(Int(header.lane), header.iteration, takeDigests()) }
    }
  }

  private func takeDigests() -> [BlockDigest]? {
    guard let digests else { return nil }
    self.digests = Array(repeating: BlockDigest(), count: digests.count)
    return digests
  }

  /// Receives a part of the body to its place in the buffer.
  private func receive(_ range: Range<Int>) throws(LaneError) {
    do throws(TransportError) {
      try body.withMutableBytes(range) { (bytes) throws(TransportError) in try connection.receive(into: &bytes) }
    } catch { throw .transport(channel: number, error) }
  }

  /// Applies a frame whose records have passed.
  private func take(_ header: FrameHeader) throws(LaneError) {
    if header.flags.contains(.dataUnsummed) {
      if let mapped {
        try receiveInPlace(mapped)
      } else {
        try receive(records.data)
        try apply(header)
      }
    } else {
      try apply(header)
    }
    count()
    if digests != nil, let mapped { digest(mapped) }
  }

  /// Receives a frame's raw pages where they belong.
  private func receiveInPlace(_ mapped: any MappedDestination) throws(LaneError) {
    // On the CPU: it waits for the link, too.
    let started = HostClock.threadCPU()
    for record in records.records {
      try clear(record)
      guard case .span(let block, let index, _, let pages, _) = record else { continue }
      // At most one part per data page, of which a frame has fewer than the vector has room for.
      unsafe mapped.withRuns(block: block, span: index, pages: pages) { unsafe vector.append($0) }
    }
    do throws(TransportError) { try connection.receive(into: vector) } catch {
      throw .transport(channel: number, error)
    }
    counters.storeNanoseconds.add(HostClock.threadCPU() - started, ordering: .relaxed)
  }

  private func count() {
    counters.zeroPages.add(UInt64(records.zeroPageCount), ordering: .relaxed)
    counters.dataPages.add(UInt64(records.dataPageCount), ordering: .relaxed)
    counters.deltaPages.add(UInt64(records.deltaPageCount), ordering: .relaxed)
  }

  /// Adds the frame's data pages to the digests, from memory: they are still in the cache.
  private func digest(_ mapped: any MappedDestination) {
    for record in records.records {
      guard case .span(let block, let index, _, let pages, _) = record, pages != 0 else { continue }
      digests?[block].add(mapped.digest(block: block, span: index, pages: pages))
    }
  }

  /// A lane's frames belong to the iteration after its last mark: what was counted stays as it was.
  private func checkIteration(_ header: FrameHeader) throws(LaneError) {
    guard session.owns(lane: Int(header.lane), channel: number) else {
      throw .laneElsewhere(channel: number, lane: Int(header.lane))
    }
    let expected = markedIterations[Int(header.lane)] &+ 1
    guard header.iteration == expected else {
      throw .wire(channel: number, .iterationBroken(found: header.iteration, expected: expected))
    }
    if header.type == .endOfIteration { markedIterations[Int(header.lane)] = header.iteration }
  }

  private func receiveHeader() throws(LaneError) -> FrameHeader {
    do throws(TransportError) {
      try header.withMutableBytes(0..<FrameHeader.byteCount) { (bytes) throws(TransportError) in
        try connection.receive(into: &bytes)
      }
    } catch { throw .transport(channel: number, error) }
    do throws(WireError) {
      let decoded = try header.withBytes(0..<FrameHeader.byteCount) { (bytes) throws(WireError) in
        try FrameHeader(decoding: bytes)
      }
      guard decoded.sequence == nextSequence else {
        throw WireError.sequenceBroken(found: decoded.sequence, expected: nextSequence)
      }
      return decoded
    } catch { throw .wire(channel: number, error) }
  }

  /// Decodes the payload, checks every delta, and writes every record's pages.
  private func apply(_ header: FrameHeader) throws(LaneError) {
    let started = HostClock.now()
    try decode(header)
    if header.deltaDecodedByteCount > 0 { try withDeltas(header) { (part) throws(LaneError) in try locate(part) } }
    counters.codecNanoseconds.add(HostClock.now() - started, ordering: .relaxed)
    try withData(header) { (data) throws(LaneError) in
      try withDeltas(header) { (deltas) throws(LaneError) in try store(data, deltas) }
    }
  }

  /// Decodes the parts that are encoded; in the order in which they were encoded, which a history needs.
  private func decode(_ header: FrameHeader) throws(LaneError) {
    guard !header.flags.isDisjoint(with: [.dataEncoded, .deltaEncoded]) else { return }
    let codec = try codec(for: header)
    do throws(CodecError) {
      if header.flags.contains(.dataEncoded) {
        try decoded.withMutableBytes(0..<header.dataDecodedByteCount) { (target) throws(CodecError) in
          try body.withBytes(records.data) { (source) throws(CodecError) in try codec.decode(source, into: &target) }
        }
      }
      if header.flags.contains(.deltaEncoded) {
        try decodedDeltas.withMutableBytes(0..<header.deltaDecodedByteCount) { (target) throws(CodecError) in
          try body.withBytes(records.delta) { (source) throws(CodecError) in try codec.decode(source, into: &target) }
        }
      }
    } catch { throw .codec(error) }
  }

  /// The data part, decoded.
  private func withData(
    _ header: FrameHeader, _ use: (RawSpan) throws(LaneError) -> Void
  ) throws(LaneError) {
    guard header.flags.contains(.dataEncoded) else { return try body.withBytes(records.data, use) }
    try decoded.withBytes(0..<header.dataDecodedByteCount, use)
  }

  /// The delta part, decoded.
  private func withDeltas(
    _ header: FrameHeader, _ use: (RawSpan) throws(LaneError) -> Void
  ) throws(LaneError) {
    guard header.flags.contains(.deltaEncoded) else { return try body.withBytes(records.delta, use) }
    try decodedDeltas.withBytes(0..<header.deltaDecodedByteCount, use)
  }

  /// Finds and checks every delta of the frame, before anything is written.
  private func locate(_ part: RawSpan) throws(LaneError) {
    do throws(WireError) {
      try DeltaPart.decode(part, count: records.deltaPageCount, into: &places)
    } catch { throw .wire(channel: number, error) }
    do throws(Delta.Fault) {
      for place in places { try Delta.check(part.extracting(place)) }
    } catch { throw .badDelta(channel: number, error) }
  }

  private func codec(for header: FrameHeader) throws(LaneError) -> any FrameCodec {
    let hasHistory = historyTags.contains(header.codec)
    let lane = hasHistory ? header.lane : nil
    let known = codecs.first { $0.tag == header.codec && $0.lane == lane }?.codec
    guard header.flags.contains(.historyBegins) else {
      // A lane's first frame with a history says that it begins.
      guard let known else { throw .codecNotAgreed(channel: number, tag: header.codec) }
      return known
    }
    if let known = known as? any HistoryCodec {
      known.restart()
      return known
    }
    guard hasHistory, let type = CodecRegistry.codec(tag: CodecTag(rawValue: header.codec)) as? any HistoryCodec.Type
    else { throw .codecNotAgreed(channel: number, tag: header.codec) }
    do throws(CodecError) {
      // At most one per lane of this channel: their number and size were agreed on.
      let codec = try type.init(level: type.identity.defaultLevel, historyByteCount: session.historyByteCount)
      codecs.append((header.codec, lane, codec))
      return codec
    } catch { throw .codec(error) }
  }

  /// - Parameters:
  ///   - data: the frame's data pages, decoded, in the order of its records.
  ///   - deltas: its delta part, decoded, whose `places` have been checked.
  private func store(_ data: RawSpan, _ deltas: RawSpan) throws(LaneError) {
    let started = HostClock.now()
    var offset = 0
    var delta = 0
    for record in records.records {
      try clear(record)
      guard case .span(let block, let index, _, let pages, let changed) = record else { continue }
      do throws(GuestMemoryError) {
        if pages != 0 {
          let byteCount = pages.nonzeroBitCount * PageGeometry.pageByteCount
          try memory.store(data.extracting(offset..<offset + byteCount), block: block, span: index, pages: pages)
          offset += byteCount
        }
        if changed != 0 {
          let next = delta + changed.nonzeroBitCount
          try memory.apply(deltas, places: places[delta..<next], block: block, span: index, pages: changed)
          delta = next
        }
      } catch { throw .memory(error) }
    }
    counters.storeNanoseconds.add(HostClock.now() - started, ordering: .relaxed)
  }

  /// Makes a record's zero pages zero.
  private func clear(_ record: SpanRecord) throws(LaneError) {
    do throws(GuestMemoryError) {
      switch record {
      case .span(let block, let index, let zero, _, _):
        if zero != 0 { try memory.clear(block: block, span: index, pages: zero) }
      case .zeroRun(let block, let index, let count):
        for span in index..<index + count {
          try memory.clear(block: block, span: span, pages: blocks.pages(block: block, span: span))
        }
      }
    } catch { throw .memory(error) }
  }
}
