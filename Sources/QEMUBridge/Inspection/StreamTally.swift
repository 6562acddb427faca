// SPDX-License-Identifier: Apache-2.0

/// Counts a stream's elements as they go by: plain counters, of which a summary is made at the end.
struct StreamTally {
  fileprivate struct Count {
    var pieces: UInt64 = 0
    var bytes: UInt64 = 0
  }

  private var pages = [Count](repeating: Count(), count: PageRecord.Encoding.allCases.count)
  private var sections = [Count](repeating: Count(), count: SectionKind.allCases.count)
  private var lists = Count(), ends = Count(), flushes = Count()
  private var header: UInt64 = 0, configuration: UInt64 = 0, commands: UInt64 = 0, packaged: UInt64 = 0
  private var footers: UInt64 = 0, endOfState: UInt64 = 0
  private var opaque: (offset: UInt64, byteCount: UInt64)?
  private(set) var commandList: [StreamSummary.Command] = []
  private(set) var passes: [StreamSummary.Pass] = []
  /// Where the last page is, block and offset in one number.
  private var last: UInt64 = 0
  /// In postcopy pages come as they are asked for.
  private var isPostcopy = false
  private(set) var byteCount: UInt64 = 0

  /// Commands and passes that are told one by one; a stream may have any number.
  private static let listedMax = 10_000

  mutating func add(_ element: StreamElement) {
    let count = UInt64(element.byteCount)
    byteCount += count
    switch element.kind {
    case .page(let record): add(record, at: element.offset, count)
    case .section(let kind, _): sections[Int(kind.rawValue) - 1].add(count)
    case .endOfRecords: ends.add(count)
    case .footer: footers += count
    case .multifdFlush: flushes.add(count)
    case .blockList: lists.add(count)
    case .header: header += count
    case .configuration: configuration += count
    case .command(let command): add(command, at: element.offset, count)
    case .packaged: packaged += count
    case .endOfState: endOfState += count
    case .opaque: opaque = (opaque?.offset ?? element.offset, (opaque?.byteCount ?? 0) + count)
    }
  }

  private mutating func add(_ record: PageRecord, at offset: UInt64, _ count: UInt64) {
    pages[Int(record.encoding.rawValue)].add(count)
    let place = UInt64(record.block) << 46 | record.offset
    // The scan of RAM has gone back to the front.
    let isAnew = place < last && !isPostcopy && passes.count < Self.listedMax
    if isAnew || passes.isEmpty { passes.append(.init(offset: offset)) }
    last = place
    passes[passes.count - 1].pages += 1
    passes[passes.count - 1].zeroPages += record.encoding == .zero ? 1 : 0
    passes[passes.count - 1].bytes += count
  }

  private mutating func add(_ command: StreamCommand, at offset: UInt64, _ count: UInt64) {
    commands += count
    var value: UInt64?
    switch command {
    case .ping(let number): value = UInt64(number)
    case .packaged(let byteCount):
      value = UInt64(byteCount)
      isPostcopy = true
    default: break
    }
    guard commandList.count < Self.listedMax else { return }
    commandList.append(.init(offset: offset, name: command.name, value: value))
  }

  /// Puts the counts into `summary`.
  func report(in summary: inout StreamSummary, opaqueCause: OpaqueCause?) {
    summary.byteCount = byteCount
    summary.commands = commandList
    // Threads that compress send their pages in another order.
    summary.passes = pages[Int(PageRecord.Encoding.compressed.rawValue)].pieces > 0 ? [] : passes
    for (kind, name) in [(SectionKind.start, "start"), (.part, "part"), (.end, "end")] {
      summary.sections[name] = sections[Int(kind.rawValue) - 1].pieces
    }
    var bytes = [
      "header": header, "configuration": configuration, "commands": commands, "packaged": packaged,
      "sections": sections.reduce(0) { $0 + $1.bytes }, "footers": footers, "endOfState": endOfState,
      "opaque": opaque?.byteCount ?? 0,
    ]
    for encoding in PageRecord.Encoding.allCases {
      summary.records[encoding.name] = pages[Int(encoding.rawValue)].pieces
      bytes[encoding.name] = pages[Int(encoding.rawValue)].bytes
    }
    for (name, count) in [("MEM_SIZE", lists), ("EOS", ends), ("MULTIFD_FLUSH", flushes)] {
      summary.records[name] = count.pieces
      bytes[name] = count.bytes
    }
    summary.bytes = bytes.filter { $0.value > 0 }
    summary.records = summary.records.filter { $0.value > 0 }
    if let opaque, let opaqueCause {
      summary.opaque = .init(offset: opaque.offset, byteCount: opaque.byteCount, cause: opaqueCause.description)
    }
  }
}

extension StreamTally.Count {
  fileprivate mutating func add(_ byteCount: UInt64) {
    pieces += 1
    bytes += byteCount
  }
}
