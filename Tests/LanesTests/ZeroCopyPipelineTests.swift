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

/// Frames whose pages the kernel is asked not to copy. Over loopback it does, and says so.
@Suite struct ZeroCopyPipelineTests {
  static let random = SamplePages.image(Array(repeating: .random, count: 1024), seed: 51)
  static let contents = [
    SamplePages.image((0..<500).map { [.zero, .text, .random, .random, .random][$0 % 5] }, seed: 52),
    SamplePages.image((0..<256).map { $0 % 2 == 0 ? .random : .zero }, seed: 53), random,
  ]

  /// Whether sockets here can do it, by the word of one.
  static let isHere: Bool = {
    guard let harness = try? PipelineHarness(channelCount: 1) else { return false }
    return ZeroCopy(harness.near[0], .init(.on))?.use.outcome == .kept
  }()
  static let lacking: Comment = "this kernel refuses SO_ZEROCOPY: nothing of it was tested"

  @Test(
    "What arrives is what was sent, whoever sends, and the kernel's word on its copy is told",
    .enabled(if: isHere, lacking), arguments: [("none", 1), ("none", 2), ("auto", 2)], [1, 64])
  func roundTrip(_ shape: (codec: String, channels: Int), cpuCount: Int) throws {
    let contents = Self.contents
    let source = try ArraySource(contents)
    let harness = try PipelineHarness(channelCount: shape.channels)
    let codec = try CodecPolicy(parsing: shape.codec)
    let memory = try AnonymousMemory(blocks: source.blocks, populateAhead: false)
    let sender = try harness.sender(
      try SampleGuest.mapped(source, contents), codec: codec, laneCount: shape.channels, cpuCount: cpuCount,
      sendsUnsummed: true, zeroCopy: .init(.on))
    let receiver = harness.receiver(memory, codecs: codec.tags, features: [.unsummedData, .digests])
    try harness.move(sender, receiver, laneCount: shape.channels)
    try memory.expect(source.digests)
    #expect(sender.sentByteCount == receiver.receivedByteCount)
    sender.stop(keepConnections: true)
    let use = sender.zeroCopyUse
    if shape.codec == "none" { #expect(use.sends > 0 && use.bytes > 0) }
    #expect(use.copiedAnyway == use.sends)
    #expect(use.outcome == (use.sends > 0 ? .copiedByKernel : .kept))
    receiver.stop()
  }

  @Test("A trial over loopback ends at the kernel's word", .enabled(if: isHere, lacking))
  func trial() throws {
    let source = try ArraySource([Self.random])
    let harness = try PipelineHarness(channelCount: 1)
    let memory = try AnonymousMemory(blocks: source.blocks, populateAhead: false)
    let sender = try harness.sender(
      try SampleGuest.mapped(source, [Self.random]), codec: .none, laneCount: 1, sendsUnsummed: true,
      zeroCopy: .init(.automatic, trialByteCount: 1 << 20, triesLocalPeers: true))
    let receiver = harness.receiver(memory, codecs: [.none], features: [.unsummedData, .digests])
    try harness.move(sender, receiver, laneCount: 1)
    sender.stop(keepConnections: true)
    let use = sender.zeroCopyUse
    #expect(use.outcome == .copiedByKernel)
    #expect(use.sends > 0 && use.bytes <= 3 << 20)
    try memory.expect(source.digests)
    receiver.stop()
  }

  @Test("A peer that reads nothing holds nobody once the pipeline is stopped", arguments: [1, 64])
  func blockedPeer(cpuCount: Int) throws {
    let source = try ArraySource([Self.random])
    let harness = try PipelineHarness(channelCount: 2)
    let sender = try harness.sender(
      try SampleGuest.mapped(source, [Self.random]), codec: .none, laneCount: 2, cpuCount: cpuCount,
      sendsUnsummed: true, zeroCopy: .init(.on))
    sender.start()
    sender.begin(.init(number: 1, kind: .bulk))
    HostClock.sleep(nanoseconds: 50_000_000)
    let started = HostClock.now()
    sender.stop()
    #expect(HostClock.now() - started < 500_000_000)
  }

  @Test("Frames that hold their pages are not sent that way")
  func copiedFrames() throws {
    let source = try ArraySource([Self.random])
    let harness = try PipelineHarness(channelCount: 1)
    let memory = try AnonymousMemory(blocks: source.blocks, populateAhead: false)
    let sender = try harness.sender(source, codec: .none, laneCount: 1, zeroCopy: .init(.on))
    let receiver = harness.receiver(memory, codecs: [.none])
    try harness.move(sender, receiver, laneCount: 1)
    sender.stop(keepConnections: true)
    #expect(sender.zeroCopyUse.sends == 0)
    receiver.stop()
  }
}
