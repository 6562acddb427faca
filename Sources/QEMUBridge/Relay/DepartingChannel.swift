// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import HostSystem
import Migration
import PageModel
import Synchronization
import SystemPackage
import Transport

/// Where pages of multifd channels go: to the pages of the stream that they belong to.
final class ChannelPages: Sendable {
  let memory: DepartingMemory
  let blocks: [StreamBlock]
  /// One for all connections: what may be under way is their sum.
  let window: RelayWindow
  /// Bytes of all channels that are in the memory.
  let stored = Atomic<UInt64>(0)
  private let news: ParkingSpot
  private let stream: DepartingStream

  /// - Parameter memory: takes pages from several threads.
  init(
    _ memory: DepartingMemory, blocks: [StreamBlock], window: RelayWindow, news: ParkingSpot, stream: DepartingStream
  ) {
    precondition(memory.isShared, "channels have a thread each")
    self.memory = memory
    self.blocks = blocks
    self.window = window
    self.news = news
    self.stream = stream
  }

  /// Something was stored, or room is wanted.
  func wake() { news.wake() }

  /// Between two reads: what the destination has is given back.
  func tidy() {
    memory.release(upTo: stream.confirmedIteration.load(ordering: .acquiring))
    news.wake()
  }

  func note(received pages: Int, zeroPages: Int) { stream.note(received: pages, zeroPages: zeroPages) }
}

/// A multifd channel of the source hypervisor, whose pages are taken out of it. One thread's.
struct DepartingChannel {
  let hypervisor: Connection
  let gate: MultifdGate

  /// Reads until the channel ends.
  /// - Parameter pass: hands on what goes to the destination's hypervisor: packets without pages, for barriers.
  func run(_ pass: ([UInt8]) -> Void) throws(MigrationFailure) {
    let pages = try gate.awaitPages()
    let progress = Progress()
    var reader: MultifdReader
    do throws(StreamError) {
      reader = try MultifdReader(
        ChannelSource(connection: hypervisor, pages: pages, progress: progress),
        pageByteCount: PageGeometry.pageByteCount)
    } catch { throw Self.failure(error) }
    var hand = PagePool.Hand()
    var barriers = 0
    while let element = try Self.next(&reader) {
      var isBarrier = false
      switch element.kind {
      case .opening: break
      case .packet(let packet):
        do throws(StreamError) { try store(packet, reader, in: pages, &hand) } catch { throw Self.failure(error) }
        isBarrier = packet.isSync
      case .opaque:
        throw MigrationFailure(
          .hypervisorFailed,
          "a multifd channel goes on with \(reader.opaqueCause.map { "\($0)" } ?? "what cannot be taken apart"): "
            + "turn multifd off, or its compression")
      }
      progress.done += UInt64(element.byteCount)
      pages.stored.add(UInt64(element.byteCount), ordering: .releasing)
      guard isBarrier else { continue }
      barriers += 1
      // The first belongs to the stream's beginning, and went with it.
      guard barriers > 1 else { continue }
      var count = 0
      try pages.window.rest(Int(progress.read - progress.done)) { () throws(MigrationFailure) in
        count = try gate.arrive()
      }
      for _ in 0..<count { pass(reader.withElement { Self.barrier($0.copied) }) }
    }
    try gate.noteEnd()
  }

  private static func next(_ reader: inout MultifdReader) throws(MigrationFailure) -> MultifdElement? {
    do throws(StreamError) { return try reader.next() } catch { throw failure(error) }
  }

  private func store(
    _ packet: MultifdPacket, _ reader: borrowing MultifdReader, in pages: ChannelPages, _ hand: inout PagePool.Hand
  ) throws(StreamError) {
    let count = packet.pageCount + packet.zeroPageCount
    guard count > 0 else { return }
    let block = try reader.block(of: pages.blocks)
    var isNews = false
    for index in 0..<count {
      let page = Int(try reader.place(index, block: block, of: pages.blocks)) / PageGeometry.pageByteCount
      let content = unsafe index < packet.pageCount ? reader.page(index, of: packet) : nil
      if unsafe pages.memory.store(block: block, page: page, content, &hand) { isNews = true }
    }
    pages.note(received: count, zeroPages: packet.zeroPageCount)
    if isNews { pages.wake() }
  }

  /// A packet, as it is without its pages: they go another way.
  static func barrier(_ packet: [UInt8]) -> [UInt8] {
    let count = MultifdPacket.headByteCount(pageByteCount: PageGeometry.pageByteCount)
    var bytes = Array(packet.prefix(count))
    // Counts, and length of the pages; zero pages; block and offsets.
    for range in [16..<24, 32..<36, 64..<count] {
      bytes.replaceSubrange(range, with: repeatElement(0, count: range.count))
    }
    return bytes
  }

  private static func failure(_ error: StreamError) -> MigrationFailure {
    MigrationFailure(.hypervisorFailed, "a multifd channel of the hypervisor: \(error)")
  }
}

/// How far a channel is: bytes read, and bytes of packets that are done with.
private final class Progress {
  var read: UInt64 = 0
  var done: UInt64 = 0
}

/// A channel's socket, read no faster than the window of all connections allows.
private struct ChannelSource: ByteSource {
  let connection: Connection
  let pages: ChannelPages
  let progress: Progress
  private var word: [UInt8] = [0]

  /// Bytes that are read at once.
  private static let most = 256 << 10

  init(connection: Connection, pages: ChannelPages, progress: Progress) {
    self.connection = connection
    self.pages = pages
    self.progress = progress
  }

  mutating func read(into room: UnsafeMutableRawBufferPointer) throws(Errno) -> Int {
    unsafe try read(into: room, needing: 1)
  }

  mutating func read(into room: UnsafeMutableRawBufferPointer, needing needed: Int) throws(Errno) -> Int {
    pages.tidy()
    do throws(TransportError) {
      // Room is taken when there is something to read: others may need it meanwhile.
      guard let waiting = try connection.peek(into: &word), waiting > 0 else { return 0 }
      // The rest of a packet in any case: until all of it is here, none of it can be confirmed.
      let count = pages.window.claim(
        min(room.count, Self.most), atLeast: progress.read > progress.done ? needed : 0)
      guard count > 0 else { return 0 }
      var got = 0
      defer { pages.window.giveBack(count - got) }
      got = unsafe try connection.receiveSome(into: UnsafeMutableRawBufferPointer(rebasing: room[..<count]))
      progress.read += UInt64(got)
      return got
    } catch { return 0 }
  }
}
