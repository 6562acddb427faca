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

@Suite struct PipelineTests {
  @Test(
    "What lanes send is what channels store, for every codec and shape",
    arguments: [
      ("none", 1, 1), ("none", 4, 2), ("lz4", 1, 1), ("lz4:9", 3, 2), ("zstd:1", 2, 2), ("zstd:-5", 8, 8),
      ("deflate:1", 5, 4), ("zstd-long:1", 1, 1), ("zstd-long:3", 5, 2), ("auto", 1, 1), ("auto", 4, 2),
    ], [1, 64])
  func roundTrip(_ shape: (codec: String, lanes: Int, channels: Int), cpuCount: Int) throws {
    let (codec, lanes, channels) = shape
    let source = try ArraySource(SampleGuest.contents(seed: 11))
    let harness = try PipelineHarness(channelCount: channels)
    let choice = try CodecPolicy(parsing: codec)
    let memory = try AnonymousMemory(blocks: source.blocks, populateAhead: false)
    // Few CPUs: lanes send their frames themselves, where there is one per channel. Many: a sender each.
    let sender = try harness.sender(source, codec: choice, laneCount: lanes, cpuCount: cpuCount)
    let receiver = harness.receiver(memory, codecs: choice.tags)
    try harness.move(sender, receiver, laneCount: lanes)
    #expect(sender.digests == source.digests)
    try memory.expect(source.digests)
    let (sent, received) = (sender.statistics, receiver.statistics)
    #expect(sent.zeroPages + sent.dataPages == UInt64(source.blocks.pageCount))
    #expect(sent.zeroPages == received.zeroPages)
    #expect(sent.dataPages == received.dataPages)
    #expect(sent.frames == received.frames)
    // Every data page is in exactly one codec's figures.
    #expect(sent.codecs.reduce(0) { $0 + $1.pages + $1.bypassedPages } == sent.dataPages)
    #expect(sent.codecs.reduce(0) { $0 + $1.lanes } == lanes)
    #expect(sender.sentByteCount == receiver.receivedByteCount)
    sender.stop()
    receiver.stop()
  }

  @Test("A zero page costs at most 1.1 bytes, in an image that is nothing else")
  func zeroPagesAreCheap() throws {
    let source = try ArraySource([[UInt8](repeating: 0, count: 64 << 20)])
    let harness = try PipelineHarness(channelCount: 2)
    let memory = try AnonymousMemory(blocks: source.blocks, populateAhead: false)
    let sender = try harness.sender(source, codec: .none, laneCount: 2)
    let receiver = harness.receiver(memory, codecs: [.none])
    try harness.move(sender, receiver, laneCount: 2)
    #expect(sender.statistics.zeroPages == 16384)
    #expect(Double(sender.sentByteCount) / 16384 <= 1.1)
    #expect(memory.writtenByteCount == 0, "zero pages of fresh memory are not touched")
    sender.stop()
    receiver.stop()
  }

  @Test("Pages that do not compress travel raw, and cost no more than without a codec")
  func bypass() throws {
    let source = try ArraySource([SamplePages.image(Array(repeating: .random, count: 512), seed: 5)])
    let harness = try PipelineHarness(channelCount: 1)
    let memory = try AnonymousMemory(blocks: source.blocks, populateAhead: false)
    let sender = try harness.sender(source, codec: try CodecPolicy(parsing: "lz4"), laneCount: 1)
    let receiver = harness.receiver(memory, codecs: [.lz4])
    try harness.move(sender, receiver, laneCount: 1)
    #expect(sender.statistics.codecs[0].bypassedPages == 512)
    #expect(sender.sentByteCount < 512 * 4096 + 10_000)
    sender.stop()
    receiver.stop()
  }

  @Test("Stopping in the middle ends every thread, on both sides", arguments: [1, 64])
  func stopsInTheMiddle(cpuCount: Int) throws {
    let source = try ArraySource([SamplePages.image(Array(repeating: .random, count: 4096), seed: 6)])
    let harness = try PipelineHarness(channelCount: 2)
    let memory = try AnonymousMemory(blocks: source.blocks, populateAhead: true)
    let sender = try harness.sender(source, codec: .none, laneCount: 2, bandwidth: 1 << 20, cpuCount: cpuCount)
    let receiver = harness.receiver(memory, codecs: [.none])
    sender.start()
    receiver.start()
    sender.begin(.init(number: 1, kind: .bulk))
    HostClock.sleep(nanoseconds: 50_000_000)
    let started = HostClock.now()
    sender.stop()
    receiver.stop()
    #expect(HostClock.now() - started < 2_000_000_000)
    #expect(sender.sentByteCount < 4096 * 4096)
  }

  @Test("A peer that reads nothing holds no thread once the pipeline is stopped", arguments: [1, 64])
  func blockedPeer(cpuCount: Int) throws {
    let source = try ArraySource([SamplePages.image(Array(repeating: .random, count: 4096), seed: 8)])
    let harness = try PipelineHarness(channelCount: 2)
    let sender = try harness.sender(source, codec: .none, laneCount: 2, cpuCount: cpuCount)
    sender.start()
    sender.begin(.init(number: 1, kind: .bulk))
    HostClock.sleep(nanoseconds: 100_000_000)
    let started = HostClock.now()
    sender.stop()
    #expect(HostClock.now() - started < 1_000_000_000)
  }

  @Test("A channel that breaks stops the pipeline and is named")
  func brokenChannel() throws {
    let source = try ArraySource([SamplePages.image(Array(repeating: .random, count: 4096), seed: 7)])
    let harness = try PipelineHarness(channelCount: 2)
    let sender = try harness.sender(source, codec: .none, laneCount: 2)
    sender.start()
    sender.begin(.init(number: 1, kind: .bulk))
    harness.near[1].shutDown()
    let failure = try harness.awaitFailure()
    #expect(failure == .transport(channel: 2, .stopped))
    sender.stop()
  }
}
