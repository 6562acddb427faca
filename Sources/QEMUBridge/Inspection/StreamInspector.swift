// SPDX-License-Identifier: Apache-2.0
public import Transport

/// Why an inspection ended early.
public enum InspectionError: Error, Equatable, CustomStringConvertible {
  case stream(StreamError)
  /// Of the multifd channel that was given as that, from 0.
  case channel(Int, StreamError)
  case page(RAMImageError)
  case channelPage(Int, RAMImageError)
  /// RAM is wanted, and a channel's pages cannot be had.
  case opaqueChannel(OpaqueCause)
  /// The stream cannot be written anew.
  case output(TransportError)

  public var description: String {
    switch self {
    case .stream(let error): error.description
    case .channel(let index, let error): "multifd channel \(index): \(error)"
    case .page(let error): error.description
    case .channelPage(let index, let error): "multifd channel \(index): \(error)"
    case .opaqueChannel(let cause): "RAM cannot be rebuilt: a multifd channel has \(cause)"
    case .output(.failed(let errno)): "cannot write the stream: \(errno)"
    case .output(let error): "cannot write the stream: \(error)"
    }
  }
}

/// Reads a captured stream to its end and tells what it holds; rebuilds its RAM and writes it anew, if asked to.
public final class StreamInspector {
  /// What is to be done beside counting.
  public struct Options {
    /// Rebuild RAM: with that, every page is decoded. Its pages take no more bytes than this; nil: do not.
    public var ramLimit: UInt64?
    /// Where the stream goes anew: its pages as new records, all else as it is.
    public var sink: (any ByteSink)?
    /// So many elements are told one by one.
    public var toldElementCount = 0
    /// Told what an element is, in a line.
    public var tell: (String) -> Void = { _ in }

    public init() {}
  }

  private let options: Options
  private var tally = StreamTally()
  private var ledger: PageLedger?
  private var toldElementCount = 0
  private var pagesSentAgain: UInt64 = 0
  /// What has been found, also after an error.
  public private(set) var summary = StreamSummary()
  /// The RAM, if it was asked for and its blocks were declared.
  public private(set) var image: RAMImage?
  private var writer: StreamWriter?

  public init(_ options: Options = Options()) { self.options = options }

  /// Reads the stream to its end.
  /// - Parameter channels: those of multifd, in any order.
  public func run(_ source: any ByteSource, channels sources: [any ByteSource] = []) throws(InspectionError) {
    let channels = MultifdChannels(sources)
    do throws(InspectionError) {
      if let sink = options.sink {
        do { writer = try StreamWriter(sink) } catch { throw .output(.failed(error)) }
      }
      var reader = try checked { () throws(StreamError) in try StreamReader(source) }
      defer { report(reader, channels) }
      try read(&reader, channels)
      do throws(TransportError) { try writer?.flush() } catch { throw .output(error) }
    } catch {
      summary.error = error.description
      throw error
    }
  }

  private func checked<Value: ~Copyable>(
    _ body: () throws(StreamError) -> Value
  ) throws(InspectionError) -> Value {
    do throws(StreamError) { return try body() } catch { throw .stream(error) }
  }

  private func read(_ reader: inout StreamReader, _ channels: MultifdChannels) throws(InspectionError) {
    while true {
      let next: StreamElement?
      do throws(StreamError) { next = try reader.next() } catch { throw .stream(error) }
      guard let element = next else { break }
      tally.add(element)
      if toldElementCount < options.toldElementCount {
        toldElementCount += 1
        options.tell(element.line(blocks: reader.blocks))
      }
      switch element.kind {
      case .blockList: try begin(reader)
      case .page(let record): try take(record, element, reader)
      default: break
      }
      try write(element, reader)
      if !channels.isEmpty { try channels.pass(element, reader, takeChannelPage) }
    }
    if !channels.isEmpty { try channels.finish(reader, takeChannelPage) }
    if options.ramLimit != nil, let cause = channels.opaqueCause { throw .opaqueChannel(cause) }
  }

  private func begin(_ reader: borrowing StreamReader) throws(InspectionError) {
    writer?.declare(reader.blocks, pageByteCount: reader.pageByteCount)
    do throws(RAMImageError) {
      ledger = try PageLedger(blocks: reader.blocks, pageByteCount: reader.pageByteCount)
      guard let limit = options.ramLimit else { return }
      image = try RAMImage(blocks: reader.blocks, pageByteCount: reader.pageByteCount, limit: limit)
    } catch { throw .page(error) }
  }

  private func take(
    _ record: PageRecord, _ element: StreamElement, _ reader: borrowing StreamReader
  ) throws(InspectionError) {
    if ledger?.insert(block: record.block, offset: record.offset) == false { pagesSentAgain += 1 }
    guard let image else { return }
    do throws(RAMImageError) {
      try reader.withPayload(of: record) { (payload: RawSpan) throws(RAMImageError) in
        try image.apply(record, payload: payload, position: element.offset)
      }
    } catch { throw .page(error) }
  }

  private func takeChannelPage(block: Int, offset: UInt64, bytes: RawSpan?) throws(RAMImageError) {
    if ledger?.insert(block: block, offset: offset) == false { pagesSentAgain += 1 }
    guard let image else { return }
    if let bytes {
      try image.store(bytes, block: block, offset: offset)
    } else {
      try image.clear(block: block, offset: offset)
    }
  }

  private func write(_ element: StreamElement, _ reader: borrowing StreamReader) throws(InspectionError) {
    guard options.sink != nil else { return }
    do throws(TransportError) {
      if case .page(let record) = element.kind {
        try reader.withPayload(of: record) { (payload: RawSpan) throws(TransportError) in
          try writer?.record(record, payload)
        }
      } else {
        try reader.withElement { (bytes: RawSpan) throws(TransportError) in try writer?.verbatim(bytes) }
      }
    } catch { throw .output(error) }
  }

  private func report(_ reader: borrowing StreamReader, _ channels: MultifdChannels) {
    tally.report(in: &summary, opaqueCause: reader.opaqueCause)
    if let configuration = reader.configuration {
      summary.machine = configuration.machine
      summary.capabilities = configuration.capabilities
      summary.subsections = configuration.subsections
      summary.uuid = configuration.uuid.map { $0.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() }
    }
    summary.pageByteCount = reader.pageByteCount
    summary.footers = reader.hasFooters
    summary.ramSection = reader.ramSection
    summary.ramComplete = reader.isRAMComplete
    summary.pagesSentAgain = pagesSentAgain
    summary.multifd = channels.figures
    for (index, block) in reader.blocks.enumerated() {
      let named = ledger?.count(ofBlock: index) ?? 0
      summary.blocks.append(
        .init(
          name: block.name, byteCount: block.byteCount, hostPageByteCount: block.hostPageByteCount,
          guestPhysicalAddress: block.guestPhysicalAddress,
          pagesNeverNamed: block.byteCount / UInt64(reader.pageByteCount) - UInt64(named)))
    }
  }
}

extension StreamElement {
  /// One line for people: where, what, how long.
  func line(blocks: [StreamBlock]) -> String {
    let what =
      switch kind {
      case .header: "header"
      case .configuration: "configuration"
      case .command(let command): "command \(command)"
      case .packaged(let left): "packaged, \(left) bytes left"
      case .section(let kind, let id): "section \(id) \(kind)"
      case .blockList: "MEM_SIZE"
      case .page(let record):
        "\(record.encoding.name) \(Printable.text(blocks[record.block].name))+0x\(String(record.offset, radix: 16))"
          + (record.isContinued ? " CONTINUE" : "")
      case .multifdFlush: "MULTIFD_FLUSH"
      case .endOfRecords: "EOS"
      case .footer(let id): "footer \(id)"
      case .endOfState: "end of state"
      case .opaque: "opaque"
      }
    return "0x\(String(offset, radix: 16)) \(what) (\(byteCount) bytes)"
  }
}
