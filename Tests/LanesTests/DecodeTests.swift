// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import HostSystem
import Lanes
import PageCodecs
import PageKernels
import PageModel
import TestSupport
import Testing
import Transport
import Wire

/// Channels whose frames other threads decode.
@Suite struct DecodeTests {
  private static let contents = SampleGuest.contents(seed: 51)
  /// Computed once: without optimization that takes longer than all else.
  private static let digests = try? ArraySource(contents).digests

  @Test(
    "What lanes send is what arrives, whoever decodes it",
    arguments: ["lz4", "zstd:1", "deflate:1", "zstd-long:1", "auto"], [1, 2, 4])
  func roundTrip(codec: String, decoders: Int) throws {
    let source = try ArraySource(Self.contents)
    let harness = try PipelineHarness(channelCount: 2)
    let policy = try CodecPolicy(parsing: codec)
    let memory = try AnonymousMemory(blocks: source.blocks, populateAhead: false)
    // Raw pages are received in place, between frames that are queued.
    let sender = try harness.sender(
      try SampleGuest.mapped(source, Self.contents), codec: policy, laneCount: 3, sendsUnsummed: true)
    let receiver = harness.receiver(
      memory, codecs: policy.tags, features: [.unsummedData, .digests], decoders: decoders)
    sender.start()
    sender.begin(.init(number: 1, kind: .bulk))
    // Much has come before anybody reads it.
    HostClock.sleep(nanoseconds: 20_000_000)
    receiver.start()
    try harness.awaitMarks(3)
    #expect(receiver.digests == Self.digests && sender.digests == Self.digests)
    try memory.expect(try #require(Self.digests))
    let (sent, received) = (sender.statistics, receiver.statistics)
    #expect(sent.zeroPages == received.zeroPages && sent.dataPages == received.dataPages)
    #expect(sent.frames == received.frames)
    sender.stop()
    receiver.stop()
  }

  /// Takes note of what is stored, in which order: every frame's first page begins with its number.
  final class OrderedMemory: DestinationMemory, @unchecked Sendable {
    let blocks: BlockTable
    private(set) var stored: [Int] = []
    /// Told before a frame is stored.
    private let onStore: @Sendable (Int) -> Void

    init(onStore: @escaping @Sendable (Int) -> Void = { _ in }) throws {
      blocks = try BlockTable([RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: 256 << 10)])
      self.onStore = onStore
    }

    func store(_ data: RawSpan, block: Int, span: Int, pages: PageMask) throws(GuestMemoryError) {
      let number = Int(unsafe data.unsafeLoad(as: UInt32.self))
      onStore(number)
      stored.append(number)
    }
    func clear(block: Int, span: Int, pages: PageMask) throws(GuestMemoryError) {}
    func apply(
      _ deltas: RawSpan, places: ArraySlice<Range<Int>>, block: Int, span: Int, pages: PageMask
    ) throws(GuestMemoryError) {}
    func digest(block: Int, spans: Range<Int>) throws(GuestMemoryError) -> BlockDigest { BlockDigest() }
    var writtenByteCount: UInt64 { 0 }
    func prepareToComplete() throws(GuestMemoryError) {}
    func complete() throws(GuestMemoryError) {}
    func discard() {}
  }

  /// Frames that all write the same span, of very different sizes, encoded and not, with zero pages in between.
  private static func stream(_ count: Int, spoiled: Int? = nil, flipped: Int? = nil) throws -> [UInt8] {
    var random = SeededGenerator(seed: 77)
    let codecs: [(CodecTag, any FrameCodec)] = [(.lz4, try LZ4Codec(level: 1)), (.zstd, try ZstdCodec(level: 1))]
    let pages = (0..<64).flatMap { _ in SamplePages.page(.text, using: &random) }
    var room = [UInt8](repeating: 0, count: 300 << 10)
    var stream: [UInt8] = []
    for number in 0..<count {
      let pageCount = [64, 1, 17, 2][number % 4]
      var data = Array(pages[..<(pageCount * 4096)])
      unsafe withUnsafeBytes(of: UInt32(number)) { unsafe data.replaceSubrange(0..<4, with: $0) }
      let (tag, codec) = codecs[number / 4 % 2]
      let record = SpanRecord.span(
        block: 0, index: 0, zero: number % 3 == 0 && pageCount < 64 ? 1 << 63 : 0, data: .lowest(pageCount), delta: 0)
      // Every fifth frame is raw; a spoiled one does not decode, a flipped one has another checksum.
      let isRaw = number % 5 == 4 && number != spoiled
      let encodedCount = data.withRawSpan { data in room.withMutableRawSpan { codec.encode(data, into: &$0) } }
      var payload = isRaw ? data : Array(room.prefix(try #require(encodedCount)))
      if number == spoiled { payload = Array(payload.prefix(payload.count / 2)) }
      var frame = HostileFrameTests.frame(
        record: record, data: payload, codec: isRaw ? 0 : tag.rawValue, flags: isRaw ? [] : .dataEncoded,
        decoded: data.count, sequence: UInt64(number))
      if number == flipped { frame[100] ^= 1 }
      stream += frame
    }
    return stream
  }

  /// Feeds a stream to a receiver, which finds much of it there when it begins.
  /// - Returns: what it ended with, and the frames that it counted.
  private static func receive(
    _ stream: [UInt8], into memory: OrderedMemory, decoders: Int,
    closed: @escaping @Sendable (ReceivingPipeline) -> Void
  ) throws -> (LaneError, ReceivingStatistics) {
    let harness = try PipelineHarness(channelCount: 1)
    let receiver = harness.receiver(memory, codecs: [.lz4, .zstd], decoders: decoders)
    closed(receiver)
    let near = harness.near[0]
    let feeder = HostThread(name: "feeder") {
      try? near.send(stream)
      near.finishSending()
    }
    HostClock.sleep(nanoseconds: 5_000_000)
    receiver.start()
    let error = try harness.awaitFailure()
    receiver.stop()
    near.shutDown()
    feeder.join()
    return (error, receiver.statistics)
  }

  @Test("Frames are applied in the order in which they came, whoever has decoded them", arguments: [0, 1, 2, 4, 7])
  func order(decoders: Int) throws {
    let memory = try OrderedMemory()
    let (error, statistics) = try Self.receive(try Self.stream(1500), into: memory, decoders: decoders) { _ in }
    #expect(error == .transport(channel: 1, .closedByPeer))
    #expect(memory.stored == Array(0..<1500))
    #expect(statistics.frames == 1500)
    // A thread that is called comes sooner or later, where there is a CPU for it.
    if decoders == 0 || HostThread.allowedCPUs().count > 1 { #expect((statistics.handedFrames > 0) == (decoders > 0)) }
  }

  @Test("Of a frame that does not decode, and what came after it, nothing is applied", arguments: [0, 1, 2, 7])
  func undecodable(decoders: Int) throws {
    for spoiled in [0, 30, 57] {
      let memory = try OrderedMemory()
      let (error, statistics) = try Self.receive(
        try Self.stream(80, spoiled: spoiled), into: memory, decoders: decoders
      ) { _ in }
      guard case .codec(.corrupt) = error else {
        Issue.record("\(spoiled): \(error)")
        continue
      }
      #expect(memory.stored == Array(0..<spoiled))
      #expect(statistics.frames == UInt64(spoiled))
    }
  }

  @Test(
    "What came before a frame that is refused is applied, and its own fault is told first", arguments: [0, 1, 2, 7])
  func refused(decoders: Int) throws {
    let memory = try OrderedMemory()
    let (error, statistics) = try Self.receive(
      try Self.stream(80, flipped: 41), into: memory, decoders: decoders
    ) { _ in }
    #expect(error == .wire(channel: 1, .bodyCorrupt))
    #expect(memory.stored == Array(0..<41) && statistics.frames == 41)
    let both = try OrderedMemory()
    let (first, _) = try Self.receive(
      try Self.stream(80, spoiled: 40, flipped: 41), into: both, decoders: decoders
    ) { _ in }
    guard case .codec(.corrupt) = first else {
      Issue.record("\(first)")
      return
    }
    #expect(both.stored == Array(0..<40))
  }

  @Test("A frame that is queued when the last iteration is complete is refused all the same", arguments: [0, 1, 4])
  func closed(decoders: Int) throws {
    final class Door: Sendable {
      let pipeline = Mailbox<ReceivingPipeline>()
    }
    let door = Door()
    let memory = try OrderedMemory { number in
      if number == 20 { door.pipeline.next(nanoseconds: 0)?.close() }
    }
    let (error, statistics) = try Self.receive(try Self.stream(80), into: memory, decoders: decoders) {
      door.pipeline.post($0)
    }
    #expect(error == .wire(channel: 1, .frameAfterLast))
    #expect(memory.stored == Array(0...20) && statistics.frames == 21)
  }

  @Test("Stopping ends every thread: in the middle, and while nothing comes", arguments: [1, 4], [true, false])
  func stops(decoders: Int, isFed: Bool) throws {
    let harness = try PipelineHarness(channelCount: 1)
    let receiver = harness.receiver(try OrderedMemory(), codecs: [.lz4, .zstd], decoders: decoders)
    let stream = try Self.stream(2000)
    receiver.start()
    let near = harness.near[0]
    let feeder = HostThread(name: "feeder") { if isFed { try? near.send(stream) } }
    HostClock.sleep(nanoseconds: 3_000_000)
    let started = HostClock.now()
    receiver.stop()
    #expect(HostClock.now() - started < 500_000_000)
    near.shutDown()
    feeder.join()
  }

  @Test(
    "Decoders by what channels leave free",
    arguments: [(1, 1, 0), (2, 2, 0), (2, 1, 1), (8, 2, 3), (64, 4, 3), (3, 2, 0)])
  func counts(workers: Int, channels: Int, decoders: Int) {
    #expect(ReceivingPipeline.decoderCount(workerCount: workers, channelCount: channels) == decoders)
  }
}
