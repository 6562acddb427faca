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

/// Frames that refer to guest memory instead of holding a copy of it, and are received where they belong.
@Suite struct ReferredFrameTests {
  @Test(
    "What lanes refer to is what arrives, for every shape, and its digests come with it",
    arguments: [("none", 1, 1), ("none", 2, 2), ("none", 5, 2), ("auto", 2, 2), ("lz4", 2, 1)], [1, 64])
  func roundTrip(_ shape: (codec: String, lanes: Int, channels: Int), cpuCount: Int) throws {
    for isMapped in [true, false] {
      let contents = SampleGuest.contents(seed: 41) + [SampleGuest.comb]
      let source = try ArraySource(contents)
      let harness = try PipelineHarness(channelCount: shape.channels)
      let codec = try CodecPolicy(parsing: shape.codec)
      let memory = try AnonymousMemory(blocks: source.blocks, populateAhead: false)
      let sender = try harness.sender(
        try SampleGuest.mapped(source, contents), codec: codec, laneCount: shape.lanes, cpuCount: cpuCount,
        sendsUnsummed: true
      )
      let receiver = harness.receiver(
        isMapped ? memory : UnmappedMemory(memory), codecs: codec.tags, features: [.unsummedData, .digests])
      try harness.move(sender, receiver, laneCount: shape.lanes)
      #expect(sender.digests == source.digests)
      #expect(receiver.digests == (isMapped ? source.digests : nil))
      try memory.expect(source.digests)
      let (sent, received) = (sender.statistics, receiver.statistics)
      #expect(sent.zeroPages + sent.dataPages == UInt64(source.blocks.pageCount))
      #expect(sent.dataPages == received.dataPages)
      #expect(sent.zeroPages == received.zeroPages)
      #expect(sent.codecs.reduce(0) { $0 + $1.pages + $1.bypassedPages } == sent.dataPages)
      #expect(sender.sentByteCount == receiver.receivedByteCount)
      sender.stop()
      receiver.stop()
    }
  }

  @Test("A page whose bytes change on the way has another digest")
  func notTheSame() throws {
    let contents = [SamplePages.image(Array(repeating: .random, count: 64), seed: 5)]
    let source = try ArraySource(contents)
    let memory = try AnonymousMemory(blocks: source.blocks, populateAhead: false)
    let harness = try PipelineHarness(channelCount: 1)
    let receiver = harness.receiver(memory, codecs: [], laneCount: 1, features: [.unsummedData, .digests])
    receiver.start()
    var page = Array(contents[0][0..<4096])
    page[100] ^= 1
    let frame = HostileFrameTests.frame(
      record: HostileFrameTests.good, data: page, flags: .dataUnsummed, summedByteCount: 32)
    var mark = [UInt8](repeating: 0, count: FrameHeader.byteCount)
    let header = FrameHeader(
      type: .endOfIteration, sequence: 1, iteration: 1, lane: 0, bodyChecksum: PageHash.checksum([]))
    mark.withMutableRawSpan { header.encode(into: &$0) }
    try harness.near[0].send(frame + mark)
    let event = try #require(harness.events.next(nanoseconds: 5_000_000_000))
    guard case .receiving(.laneDone) = event else {
      Issue.record("\(event)")
      return
    }
    var expected = BlockDigest()
    Array(contents[0][0..<4096]).withRawSpan { expected.add(page: $0, number: 0) }
    let found = try #require(receiver.digests)
    #expect(found[0] != expected)
    #expect(found == [try memory.digest(block: 0, spans: 0..<1)])
    receiver.stop()
  }
}
