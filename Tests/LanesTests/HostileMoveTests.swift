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

/// What a receiver makes of lanes that say they move.
@Suite struct HostileMoveTests {
  private static func bare(
    _ type: FrameType, lane: UInt16, to channel: UInt16 = 0, sequence: UInt64, iteration: UInt32 = 1
  ) -> [UInt8] {
    let header = FrameHeader(
      type: type, sequence: sequence, iteration: iteration, lane: lane, channel: channel,
      bodyChecksum: PageHash.checksum([]))
    var encoded = [UInt8](repeating: 0, count: FrameHeader.byteCount)
    encoded.withMutableRawSpan { header.encode(into: &$0) }
    return encoded
  }

  private static func move(
    lane: UInt16, to channel: UInt16, sequence: UInt64 = 0, iteration: UInt32 = 1
  ) -> [UInt8] { bare(.laneMoved, lane: lane, to: channel, sequence: sequence, iteration: iteration) }

  /// One page of a value, of lane 0 or 1.
  private static func page(_ value: UInt8, lane: UInt16 = 0, sequence: UInt64) -> [UInt8] {
    HostileFrameTests.frame(
      record: HostileFrameTests.good, data: [UInt8](repeating: value, count: 4096), sequence: sequence, lane: lane)
  }

  /// A receiver of 4 lanes on 2 channels.
  private final class Bench {
    let harness: PipelineHarness
    let memory: AnonymousMemory
    let receiver: ReceivingPipeline

    init(
      decoders: Int = 0, features: SessionFeatures = [.deltas, .lanesMove], codecs: [CodecTag] = [],
      limit: Duration = .milliseconds(50)
    ) throws {
      let blocks = try BlockTable([RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: 70 * 4096)])
      harness = try PipelineHarness(channelCount: 2)
      memory = try AnonymousMemory(blocks: blocks, populateAhead: false)
      receiver = ReceivingPipeline(
        memory: memory, connections: harness.far,
        session: .init(codecs: codecs, laneCount: 4, channelCount: 2, historyByteCount: 1 << 20, features: features),
        decoderCount: decoders, moveLimit: limit,
        onEvent: { [events = harness.events] in events.post(.receiving($0)) })
      receiver.start()
    }

    func send(_ bytes: [UInt8], on channel: Int = 1) throws { try harness.near[channel - 1].send(bytes) }

    var firstByte: UInt8 { unsafe memory.base(block: 0).load(as: UInt8.self) }

    func waitForFrames(_ count: UInt64) throws {
      let end = HostClock.now() + 10_000_000_000
      while receiver.statistics.frames < count {
        try #require(HostClock.now() < end, "\(receiver.statistics.frames) frames")
        HostClock.sleep(nanoseconds: 1_000_000)
      }
    }

    deinit { receiver.stop() }
  }

  @Test("Frames that overtake their lane's last one on another channel wait for it", arguments: [0, 2])
  func overtaken(decoders: Int) throws {
    for _ in 0..<20 {
      let bench = try Bench(decoders: decoders, limit: .seconds(10))
      try bench.send(Self.page(9, sequence: 0), on: 2)
      HostClock.sleep(nanoseconds: 2_000_000)
      #expect(bench.receiver.statistics.frames == 0)
      try bench.send(Self.page(1, sequence: 0) + Self.page(2, sequence: 1) + Self.move(lane: 0, to: 2, sequence: 2))
      try bench.waitForFrames(4)
      #expect(bench.firstByte == 9)
      #expect(bench.receiver.channelCountInUse == 2)
    }
  }

  @Test("Lanes change places: what one channel queues is applied while it waits for the other", arguments: [0, 2])
  func exchanged(decoders: Int) throws {
    let bench = try Bench(decoders: decoders, limit: .seconds(10))
    // In the order of sending: 0 leaves 1, is on 2, 1 leaves 2, is on 1. It arrives in another.
    try bench.send(
      Self.page(3, sequence: 0) + Self.move(lane: 0, to: 2, sequence: 1) + Self.page(8, lane: 1, sequence: 2))
    try bench.send(
      Self.page(5, lane: 0, sequence: 0) + Self.move(lane: 1, to: 1, sequence: 1)
        + Self.bare(.endOfIteration, lane: 0, sequence: 2), on: 2)
    try bench.waitForFrames(6)
    try bench.send(Self.bare(.endOfIteration, lane: 1, sequence: 3))
    var marks: Set<Int> = []
    while marks.count < 2 {
      if case .receiving(.laneDone(let channel, let lane, 1)) = try #require(
        bench.harness.events.next(nanoseconds: 5_000_000_000))
      {
        #expect(channel == 2 - lane)
        marks.insert(lane)
      }
    }
  }

  @Test("What a lane has ended, it has ended on its next channel, too", arguments: [0, 2])
  func iterations(decoders: Int) throws {
    let bench = try Bench(decoders: decoders)
    try bench.send(
      Self.bare(.endOfIteration, lane: 0, sequence: 0) + Self.move(lane: 0, to: 2, sequence: 1, iteration: 2))
    try bench.send(Self.page(1, lane: 0, sequence: 0), on: 2)
    #expect(try bench.harness.awaitFailure() == .wire(channel: 2, .iterationBroken(found: 1, expected: 2)))
  }

  @Test("To where there is no channel, or to where it is, no lane moves", arguments: [0, 1, 3, 4, 65535] as [UInt16])
  func nowhere(target: UInt16) throws {
    for decoders in [0, 2] {
      let bench = try Bench(decoders: decoders)
      try bench.send(Self.move(lane: 0, to: target))
      #expect(
        try bench.harness.awaitFailure() == .laneMovedNowhere(channel: 1, lane: 0, target: Int(target)))
    }
  }

  @Test("A lane that is not there says nothing, nor one that has left", arguments: [0, 2])
  func elsewhere(decoders: Int) throws {
    for (bytes, lane) in [
      (Self.move(lane: 1, to: 2), 1), (Self.move(lane: 4, to: 2), 4), (Self.move(lane: 65535, to: 2), 65535),
      (Self.move(lane: 0, to: 2) + Self.move(lane: 0, to: 2, sequence: 1), 0),
      (Self.move(lane: 2, to: 2) + Self.page(7, lane: 2, sequence: 1), 2),
    ] {
      let bench = try Bench(decoders: decoders)
      try bench.send(bytes)
      #expect(try bench.harness.awaitFailure() == .laneElsewhere(channel: 1, lane: lane))
      #expect(bench.memory.writtenByteCount == 0)
    }
  }

  @Test(
    "Where it was not agreed on, or digests forbid it, lanes do not move",
    arguments: [[.deltas], [.lanesMove, .digests]] as [SessionFeatures])
  func notAgreed(features: SessionFeatures) throws {
    let bench = try Bench(features: features)
    let (near, far) = try bench.harness.connect()
    #expect(!bench.receiver.add(far, number: 3))
    try bench.send(Self.move(lane: 0, to: 2))
    #expect(try bench.harness.awaitFailure() == .wire(channel: 1, .unknownFrameType(3)))
    near.shutDown()
  }

  @Test("On its next channel a lane's history begins anew, or its frame is refused", arguments: [false, true])
  func history(begins: Bool) throws {
    let bench = try Bench(codecs: [.zstdLong])
    let codec = try ZstdLongCodec(level: 1, historyByteCount: 1 << 20)
    func frame(_ value: UInt8, flags: FrameFlags, sequence: UInt64) throws -> [UInt8] {
      let page = [UInt8](repeating: value, count: 4096)
      var encoded = [UInt8](repeating: 0, count: 8192)
      let count = page.withRawSpan { source in
        encoded.withMutableRawSpan { codec.encode(source, into: &$0) }
      }
      return HostileFrameTests.frame(
        record: HostileFrameTests.good, data: Array(encoded.prefix(try #require(count))),
        codec: CodecTag.zstdLong.rawValue, flags: flags, decoded: 4096, sequence: sequence)
    }
    // There and back: what the first channel knew is gone.
    for (number, channel) in [1, 2, 1].enumerated() {
      let isLast = number == 2
      if number > 0, begins || !isLast { codec.restart() }
      let flags: FrameFlags = isLast && !begins ? .dataEncoded : [.dataEncoded, .historyBegins]
      let sequence: UInt64 = isLast ? 2 : 0
      try bench.send(try frame(UInt8(number + 1), flags: flags, sequence: sequence), on: channel)
      if isLast { break }
      try bench.send(Self.move(lane: 0, to: UInt16(3 - channel), sequence: sequence + 1), on: channel)
      try bench.waitForFrames(UInt64(2 * number + 2))
    }
    if begins {
      try bench.waitForFrames(5)
      #expect(bench.firstByte == 3)
    } else {
      #expect(
        try bench.harness.awaitFailure() == .codecNotAgreed(channel: 1, tag: CodecTag.zstdLong.rawValue))
      #expect(bench.firstByte == 2)
    }
  }

  @Test("A receiver that waits for a lane can be stopped")
  func stopped() throws {
    let bench = try Bench(limit: .seconds(60))
    try bench.send(Self.page(9, sequence: 0), on: 2)
    HostClock.sleep(nanoseconds: 20_000_000)
    let started = HostClock.now()
    bench.receiver.stop()
    #expect(HostClock.now() - started < 10_000_000_000)
  }

  @Test("A failure elsewhere ends the wait for a lane, and is what is told")
  func otherFailure() throws {
    let bench = try Bench(limit: .seconds(60))
    try bench.send(Self.page(9, sequence: 0), on: 2)
    HostClock.sleep(nanoseconds: 5_000_000)
    try bench.send(Self.move(lane: 0, to: 9))
    #expect(try bench.harness.awaitFailure() == .laneMovedNowhere(channel: 1, lane: 0, target: 9))
    let started = HostClock.now()
    bench.receiver.stop()
    #expect(HostClock.now() - started < 10_000_000_000)
  }

  @Test("Channels are added one after the other, as many as there are lanes; who leaves at once is no harm")
  func added() throws {
    let bench = try Bench()
    func add(_ number: Int) throws -> (isTaken: Bool, near: Connection) {
      let (near, far) = try bench.harness.connect()
      return (bench.receiver.add(far, number: number), near)
    }
    for wrong in [0, 1, 2, 4, 5, -1, 65535] { #expect(try !add(wrong).isTaken, "\(wrong)") }
    let early = try add(3)
    #expect(early.isTaken && bench.receiver.channelCount == 3)
    #expect(try !add(3).isTaken)
    early.near.shutDown()
    let end = HostClock.now() + 5_000_000_000
    var third = try add(3)
    while !third.isTaken, HostClock.now() < end { third = try add(3) }
    #expect(third.isTaken && bench.receiver.channelCount == 3)
    try bench.send(Self.move(lane: 0, to: 3))
    try third.near.send(Self.page(4, sequence: 0))
    try bench.waitForFrames(2)
    #expect(bench.firstByte == 4)
    let fourth = try add(4)
    #expect(fourth.isTaken)
    #expect(try !add(5).isTaken)
    // Now that it is in use, its end is a failure.
    third.near.shutDown()
    #expect(try bench.harness.awaitFailure() == .transport(channel: 3, .closedByPeer))
    fourth.near.shutDown()
  }
}
