// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import HostSystem
import PageCodecs
import PageModel
import Synchronization
import SystemPackage
import TestSupport
import Testing
import Transport

@testable import Lanes

@Suite struct PlacedPipelineTests {
  @Test(
    "With homes for lanes and blocks, what is sent is what arrives; a node that is not here is a warning, not an end")
  func homes() throws {
    let source = try ArraySource(PipelineTests.contents(seed: 31))
    let harness = try PipelineHarness(channelCount: 2)
    let memory = try AnonymousMemory(blocks: source.blocks, populateAhead: false)
    // The plan of a host with CPUs that this one does not have, or not all of them.
    var placement = try plan(
      "sub-numa", .node, lanes: 5, channels: 2, receivers: 2,
      blocks: [block(1, on: 0), block(3, on: 3), block(1, on: nil)])
    let said = Mutex(0)
    placement.warn = { _ in said.withLock { $0 += 1 } }
    #expect(Set(placement.homes.lanes) == [0, 3])
    let sender = try SendingPipeline(
      memory: source, pending: try source.blocks.blocks.indices.map { try source.presentPages(block: $0) },
      connections: harness.near,
      configuration: .init(
        laneCount: 5, codec: .none, wantsDigests: true, pacer: Pacer(bytesPerSecond: 0), placement: placement),
      onEvent: { [events = harness.events] in events.post(.sending($0)) })
    let receiver = ReceivingPipeline(
      memory: memory, connections: harness.far,
      session: .init(codecs: [.none], laneCount: 5, channelCount: 2), placement: placement,
      onEvent: { [events = harness.events] in events.post(.receiving($0)) })
    sender.start()
    receiver.start()
    sender.begin(.init(number: 1, kind: .bulk))
    try harness.awaitMarks(5)
    for (index, block) in source.blocks.blocks.enumerated() {
      let found = try memory.digest(block: index, spans: 0..<block.spanCount)
      #expect(found == source.digests[index] && sender.digests[index] == found, "block \(index)")
    }
    sender.stop()
    receiver.stop()
    // Node 3 has CPUs 12-15 and 28-31.
    if HostThread.allowedCPUSet.intersection([12, 13, 14, 15, 28, 29, 30, 31]).isEmpty {
      #expect(said.withLock { $0 } > 0)
    }
  }

  @Test("Ring slots and delta caches prefer the node that they are made for")
  func bound() throws {
    if let refusal = MemoryPolicy.refusal { return print("SKIPPED: where rings and caches lie: \(refusal)") }
    let node = try #require(HostTopology(reading: HostFiles()).memoryNodes.last)
    for wanted in [node, nil] {
      let ring = try FrameRing(slotCount: 2, frameSpot: ParkingSpot(), node: wanted)
      let ringNode = try ring.withSlot { slot throws(Errno) in try Self.preferredNode(slot.bytes) }
      #expect(ringNode == wanted)
      guard var cache = try DeltaCache(byteCount: 1 << 20, node: wanted) else {
        Issue.record("a cache of a mebibyte has room")
        return
      }
      let cacheNode = try cache.withPage(0) { page throws(Errno) in try Self.preferredNode(page.bytes) }
      #expect(cacheNode == wanted)
    }
  }

  private static func preferredNode(_ bytes: RawSpan) throws(Errno) -> Int? {
    try unsafe bytes.withUnsafeBytes { raw throws(Errno) in
      guard let base = raw.baseAddress else { return nil }
      return try unsafe MemoryPolicy.preferredNode(of: base)
    }
  }
}
