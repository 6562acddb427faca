// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Migration
import PageCodecs
import PageModel
import Synchronization
import SystemPackage
import Transport
import Wire

/// The source hypervisor's stream, taken apart: pages go into ``DepartingMemory``, everything else, in its order, into an
/// outbox. One thread reads, another takes what is there for the next iteration.
///
/// What an outbox holds comes after every page that was stored before it, and pages that come later may overtake it: RAM
/// sections may, commands and devices' state have no pages behind them.
final class DepartingStream: @unchecked Sendable {
  /// What waits for the next iteration.
  struct Outbox {
    var bytes: [UInt8] = []
    var isEnded = false
    var failure: MigrationFailure?
  }

  /// Counted as the stream is read. Anyone reads.
  struct Counters {
    var pages: UInt64 = 0
    var zeroPages: UInt64 = 0
    var deltaPages: UInt64 = 0
    /// Bytes that were passed on as they are.
    var relayedBytes: UInt64 = 0
    /// The last pass over memory has begun: the guest stands still.
    var isEnding = false
  }

  let window: RelayWindow
  private let news: ParkingSpot
  private let outbox = Mutex(Outbox())
  private let counted = Mutex(Counters())
  /// Pages of multifd channels.
  private let countedBeside = Mutex((pages: UInt64(0), zeroPages: UInt64(0)))
  /// Everything before it is in the memory or the outbox.
  let position = Atomic<UInt64>(0)
  /// What the destination has, as the stream's thread last heard: what may be given back.
  let confirmedIteration = Atomic<UInt32>(0)
  let warn: @Sendable (String) -> Void

  // The stream's thread only.
  var reader: StreamReader?
  /// Where bytes come from that nobody parses.
  var raw: Connection?
  /// This is no stream, but a channel of pages beside it.
  var channel: DepartingChannel?
  /// The stream has such channels beside it.
  var barriers: StreamBarriers?
  private var memory: DepartingMemory?
  private var decoder: PageDecoder?
  private var counters = Counters()
  private var section = SectionKind.start
  /// How the section of the last pages begins.
  private var lastSection: [UInt8] = []
  /// From now on everything is passed on as it is.
  var isVerbatim = false
  /// What was read in search of a footer that sections do not have: the first element behind the opening.
  var first: StreamElement?
  /// Whether the source asks for answers.
  var hasReturnPath = false

  /// - Parameters:
  ///   - news: woken when there is something to take.
  ///   - warn: told what an operator should know.
  init(_ window: RelayWindow, news: ParkingSpot, warn: @escaping @Sendable (String) -> Void) {
    self.window = window
    self.news = news
    self.warn = warn
  }

  var statistics: Counters {
    var all = counted.withLock { $0 }
    let beside = countedBeside.withLock { $0 }
    all.pages += beside.pages
    all.zeroPages += beside.zeroPages
    return all
  }

  /// A channel beside the stream has had pages; any thread.
  func note(received pages: Int, zeroPages: Int) {
    countedBeside.withLock { $0 = ($0.pages + UInt64(pages), $0.zeroPages + UInt64(zeroPages)) }
  }

  // MARK: The stream's thread

  /// Reads until the stream ends.
  func run(into memory: DepartingMemory?) {
    self.memory = memory
    let failure = readAll()
    counted.withLock { $0 = counters }
    outbox.withLock { box in
      box.isEnded = true
      box.failure = failure
    }
    news.wake()
  }

  private func readAll() -> MigrationFailure? {
    if let raw { return copyAll(raw) }
    do throws(MigrationFailure) {
      if let channel {
        try channel.run(put)
        return nil
      }
      do throws(CodecError) { decoder = try PageDecoder() } catch {
        throw MigrationFailure(.internal, "no decoder: \(error)")
      }
      while true {
        var element = first
        first = nil
        if element == nil {
          do throws(StreamError) { element = try reader?.next() } catch { throw Self.failure(error) }
        }
        guard let element else { return nil }
        try handle(element)
        position.store(element.offset + UInt64(element.byteCount), ordering: .releasing)
      }
    } catch { return error }
  }

  /// Passes everything on.
  private func copyAll(_ connection: Connection) -> MigrationFailure? {
    var room = [UInt8](repeating: 0, count: 256 << 10)
    var done: UInt64 = 0
    while true {
      tidy()
      let free = window.awaitRoom(room.count)
      guard free > 0 else { return nil }
      let got: Int
      do throws(TransportError) { got = try connection.receiveSome(into: &room, atMost: free) } catch {
        return MigrationFailure(.hypervisorFailed, "the hypervisor's stream: \(error)")
      }
      window.note(taken: got)
      guard got > 0 else { return nil }
      put(Array(room[..<got]))
      done += UInt64(got)
      position.store(done, ordering: .releasing)
    }
  }

  private func handle(_ element: StreamElement) throws(MigrationFailure) {
    if isVerbatim { return pass() }
    switch element.kind {
    case .page(let record): try store(record, at: element.offset)
    case .section(let kind, _):
      section = kind
      if kind == .end { counters.isEnding = true }
      if reader?.hasFooters == false { try barriers?.refuse("sections without footers") }
      counted.withLock { $0 = counters }
      // Sections of pages are made anew at the destination, around the pages that come there. The last one goes on without
      // pages, in one piece: behind them.
      if kind == .end { reader?.withElement { lastSection = $0.copied } }
    case .endOfRecords:
      var before: [UInt8] = []
      try meet { (barriers) throws(MigrationFailure) in before = try barriers.endRecords(of: section) }
      if section == .end { reader?.withElement { put(before + lastSection + $0.copied) } }
    case .footer: if section == .end { pass() }
    case .opaque:
      if section != .end {
        try barriers?.refuse(reader?.opaqueCause.map { "\($0)" } ?? "")
        warn("from here the stream is passed on as it is: \(reader?.opaqueCause.map { "\($0)" } ?? "")")
      }
      section = .end
      isVerbatim = true
      pass()
    case .command(.postcopyListen), .command(.packaged), .command(.postcopyRun):
      try barriers?.refuse("postcopy")
      isVerbatim = true
      pass()
    case .multifdFlush where barriers != nil:
      try meet { (barriers) throws(MigrationFailure) in try barriers.flush() }
    case .command where barriers?.waitsForSections ?? false:
      try reader?.withElement { (bytes) throws(MigrationFailure) in try barriers?.hold(bytes.copied) }
    case .multifdFlush:
      throw MigrationFailure(
        .hypervisorFailed, "the stream has barriers for multifd channels, and none has connected; see docs/QEMU.md")
    case .header, .configuration, .command, .packaged, .blockList, .endOfState: pass()
    }
  }

  /// Comes to a barrier, if there are channels. What was read behind it rests: channels need room to come there, too.
  private func meet(_ come: (StreamBarriers) throws(MigrationFailure) -> Void) throws(MigrationFailure) {
    guard let barriers else { return }
    try window.rest(reader?.aheadByteCount ?? 0) { () throws(MigrationFailure) in try come(barriers) }
  }

  private func store(_ record: PageRecord, at offset: UInt64) throws(MigrationFailure) {
    guard let memory else { return }
    guard memory.isShared else { return try store(record, at: offset, in: memory) }
    // Channels store pages meanwhile.
    try memory.alone(block: record.block, page: Int(record.offset) / PageGeometry.pageByteCount) {
      () throws(MigrationFailure) in try store(record, at: offset, in: memory)
    }
  }

  private func store(
    _ record: PageRecord, at offset: UInt64, in memory: DepartingMemory
  ) throws(MigrationFailure) {
    let page = Int(record.offset) / PageGeometry.pageByteCount
    counters.pages += 1
    let isNews: Bool
    switch record.encoding {
    case .zero where record.fill == 0:
      counters.zeroPages += 1
      isNews = memory.clear(block: record.block, page: page)
    case .xbzrle where !memory.keepsAll:
      return try turnVerbatim(record)
    case .xbzrle:
      counters.deltaPages += 1
      try unsafe decode(record, into: memory.placeToChange(block: record.block, page: page), at: offset)
      isNews = memory.noteStored(block: record.block, page: page)
    case .zero, .plain, .compressed:
      try unsafe decode(record, into: memory.place(block: record.block, page: page), at: offset)
      isNews = memory.noteStored(block: record.block, page: page)
    }
    if isNews { news.wake() }
  }

  private func decode(
    _ record: PageRecord, into place: UnsafeMutableRawBufferPointer, at offset: UInt64
  ) throws(MigrationFailure) {
    // SAFETY: the page is the guest's copy here, which only this thread writes.
    var page = unsafe MutableRawSpan(_unsafeBytes: place)
    do throws(PageFault) {
      try reader?.withPayload(of: record) { (payload) throws(PageFault) in
        try decoder?.decode(record, payload, into: &page)
      }
    } catch { throw MigrationFailure(.hypervisorFailed, "the hypervisor's stream, at byte \(offset): \(error)") }
  }

  /// The hypervisor has begun to send deltas onto versions that are not here any more: its records are passed on as they
  /// are from this one on, which must not lean on the one before.
  private func turnVerbatim(_ record: PageRecord) throws(MigrationFailure) {
    try barriers?.refuse("XBZRLE deltas")
    warn(
      "the hypervisor sends XBZRLE deltas: from here its pages are passed on as they are; turn its xbzrle off, or say "
        + "--keep-ram here")
    isVerbatim = true
    guard let name = reader?.blocks[record.block].name, let id = reader?.ramSection else { return }
    var bytes: [UInt8] = [section.rawValue]
    bytes.append(bigEndian: id)
    bytes.append(bigEndian: record.offset | 0x40)
    bytes.append(UInt8(name.utf8.count))
    bytes += name.utf8
    reader?.withPayload(of: record) { payload in
      bytes.append(1)
      bytes.append(bigEndian: UInt16(payload.byteCount))
      bytes += payload.copied
    }
    put(bytes)
  }

  /// The element goes on as it is.
  private func pass() {
    reader?.withElement { put($0.copied) }
  }

  private func put(_ bytes: [UInt8]) {
    counters.relayedBytes += UInt64(bytes.count)
    let wasEmpty = outbox.withLock { box in
      defer { box.bytes += bytes }
      return box.bytes.isEmpty
    }
    if wasEmpty { news.wake() }
  }

  /// Between two reads: what the destination has is given back.
  func tidy() {
    memory?.release(upTo: confirmedIteration.load(ordering: .acquiring))
    counted.withLock { $0 = counters }
    news.wake()
  }

  static func failure(_ error: StreamError) -> MigrationFailure {
    if case .truncated(let offset, _) = error {
      return MigrationFailure(
        .hypervisorFailed,
        "the hypervisor ended its stream at byte \(offset), before all was sent (cancelled, or it failed)")
    }
    return MigrationFailure(.hypervisorFailed, "the hypervisor's stream: \(error)")
  }

  // MARK: The thread that begins iterations

  var hasNews: Bool { outbox.withLock { !$0.bytes.isEmpty || $0.isEnded } }

  /// What is to go before anything else.
  func takeOutbox() -> Outbox {
    outbox.withLock { box in
      defer { box.bytes = [] }
      return box
    }
  }
}

extension RawSpan {
  /// The bytes, as an array.
  var copied: [UInt8] { unsafe withUnsafeBytes { unsafe Array($0) } }
}

extension [UInt8] {
  mutating func append<Value: FixedWidthInteger>(bigEndian value: Value) {
    unsafe Swift.withUnsafeBytes(of: value.bigEndian) { unsafe append(contentsOf: $0) }
  }
}
