// SPDX-License-Identifier: Apache-2.0

/// The multifd channels of a captured stream, read from barrier to barrier beside the main channel.
@safe final class MultifdChannels {
  private var readers: [Channel] = []
  /// Whether a barrier is a MULTIFD_FLUSH record (QEMU 8.1 and later) or the end of a section's records: settled by the first
  /// section, which has the first barrier.
  private var flushes: Bool?

  @safe private final class Channel {
    var reader: MultifdReader
    var figures = StreamSummary.Channel()
    var isEnded = false
    init(_ reader: consuming MultifdReader) { self.reader = reader }
  }

  /// Who takes the pages. Bytes are nil for a page of zeros.
  typealias Taker = (_ block: Int, _ offset: UInt64, _ bytes: RawSpan?) throws(RAMImageError) -> Void

  private let sources: [any ByteSource]

  init(_ sources: [any ByteSource]) { self.sources = sources }

  var isEmpty: Bool { sources.isEmpty }

  var figures: [StreamSummary.Channel] { readers.map { $0.figures }.sorted { $0.channel < $1.channel } }

  /// Why a channel cannot be parsed, if one cannot.
  var opaqueCause: OpaqueCause? { readers.lazy.compactMap { $0.reader.opaqueCause }.first }

  /// The main channel has come to `element`: takes what comes before the barrier, if it is one.
  func pass(_ element: StreamElement, _ reader: borrowing StreamReader, _ take: Taker) throws(InspectionError) {
    switch element.kind {
    case .multifdFlush:
      flushes = true
      try advance(reader, take)
    case .endOfRecords:
      if flushes == nil { flushes = false }
      if flushes == false { try advance(reader, take) }
    default: break
    }
  }

  /// The main channel has ended: takes all the rest.
  func finish(_ reader: borrowing StreamReader, _ take: Taker) throws(InspectionError) {
    while readers.contains(where: { !$0.isEnded }) || readers.isEmpty && !sources.isEmpty {
      try advance(reader, take)
    }
  }

  private func advance(_ main: borrowing StreamReader, _ take: Taker) throws(InspectionError) {
    try open(main.pageByteCount)
    for index in readers.indices {
      do throws(ChannelFault) { try advance(readers[index], main, take) } catch {
        switch error {
        case .stream(let error): throw .channel(index, error)
        case .ram(let error): throw .channelPage(index, error)
        }
      }
    }
  }

  private enum ChannelFault: Error {
    case stream(StreamError)
    case ram(RAMImageError)
  }

  /// The page size is known only once the main channel has said so.
  private func open(_ pageByteCount: Int) throws(InspectionError) {
    guard readers.isEmpty else { return }
    for (index, source) in sources.enumerated() {
      do throws(StreamError) { readers.append(Channel(try MultifdReader(source, pageByteCount: pageByteCount))) } catch
      {
        throw .channel(index, error)
      }
    }
  }

  /// Up to and with the next packet that says SYNC.
  private func advance(
    _ channel: Channel, _ main: borrowing StreamReader, _ take: Taker
  ) throws(ChannelFault) {
    while !channel.isEnded {
      let element: MultifdElement?
      do throws(StreamError) { element = try channel.reader.next() } catch { throw .stream(error) }
      guard let element else {
        channel.isEnded = true
        return
      }
      channel.figures.byteCount += UInt64(element.byteCount)
      switch element.kind {
      case .opening: channel.figures.channel = channel.reader.channel
      case .packet(let packet):
        try apply(packet, channel, main, take)
        if packet.isSync { return }
      case .opaque:
        let before = channel.figures.opaque
        channel.figures.opaque = .init(
          offset: before?.offset ?? element.offset, byteCount: (before?.byteCount ?? 0) + UInt64(element.byteCount),
          cause: channel.reader.opaqueCause?.description ?? "")
      }
    }
  }

  private func apply(
    _ packet: MultifdPacket, _ channel: Channel, _ main: borrowing StreamReader, _ take: Taker
  ) throws(ChannelFault) {
    channel.figures.packets += 1
    channel.figures.pages += UInt64(packet.pageCount)
    channel.figures.zeroPages += UInt64(packet.zeroPageCount)
    channel.figures.barriers += packet.isSync ? 1 : 0
    guard packet.pageCount + packet.zeroPageCount > 0 else { return }
    let page = main.pageByteCount
    let block: Int
    do throws(StreamError) { block = try channel.reader.block(of: main.blocks) } catch { throw .stream(error) }
    for index in 0..<packet.pageCount + packet.zeroPageCount {
      let offset: UInt64
      do throws(StreamError) { offset = try channel.reader.place(index, block: block, of: main.blocks) } catch {
        throw .stream(error)
      }
      do throws(RAMImageError) {
        guard index < packet.pageCount else {
          try take(block, offset, nil)
          continue
        }
        let first = packet.payload.lowerBound + index * page
        try channel.reader.withElement { (bytes: RawSpan) throws(RAMImageError) in
          try take(block, offset, bytes.extracting(first..<first + page))
        }
      } catch { throw .ram(error) }
    }
  }
}
