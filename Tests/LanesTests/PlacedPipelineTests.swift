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
    let source = try ArraySource(SampleGuest.contents(seed: 31))
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
    try harness.move(sender, receiver, laneCount: 5)
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

  @Test(
    "On this host, with a block on each node: lanes take the blocks of their node, and what arrives lies with its receiver"
  )
  func realNodes() throws {
    if let refusal = MemoryPolicy.refusal { return print("SKIPPED: a block on each node: \(refusal)") }
    let topology = HostTopology(reading: HostFiles())
    let allowed = HostThread.allowedCPUSet
    let nodes = topology.nodes.filter { $0.memoryByteCount > 0 && !$0.cpus.intersection(allowed).isEmpty }
    if nodes.count < 2 { print("SKIPPED, in part: a block on each node: this host has one") }
    let table = try BlockTable(
      nodes.indices.map { RAMBlock(name: "on \($0)", guestPhysicalBase: UInt64($0) << 30, byteCount: 6 << 20) })
    let guest = try AnonymousMemory(blocks: table, populateAhead: false, backing: .anonymous(hugePages: false))
    for (block, node) in nodes.enumerated() {
      HostThread(name: "fill", placement: .init(cpus: node.cpus.intersection(allowed))) {
        unsafe guest.base(block: block).initializeMemory(as: UInt8.self, repeating: UInt8(block + 1), count: 6 << 20)
      }.join()
    }
    let source = unsafe ProcessMemorySource(
      blocks: table, bases: nodes.indices.map { unsafe UnsafeRawPointer(guest.base(block: $0)) }, owner: guest)
    let said = Mutex<[String]>([])
    let options = PlacementOptions(policy: .cpu, warn: { sentence in said.withLock { $0.append(sentence) } })
    let laneCount = 2 * nodes.count
    let placement = options.plan { request in
      request.laneCount = laneCount
      request.channelCount = 2
      request.receiverCount = 2
      request.noteBlocks(table) { source.homeNode(block: $0) }
    }
    if nodes.count > 1 { #expect(placement.homes.blocks == nodes.map { $0.number }) }
    let harness = try PipelineHarness(channelCount: 2)
    let arrived = try AnonymousMemory(blocks: table, populateAhead: false, backing: .anonymous(hugePages: false))
    let sender = try SendingPipeline(
      memory: source, pending: try nodes.indices.map { try source.presentPages(block: $0) }, connections: harness.near,
      configuration: .init(
        laneCount: laneCount, codec: .none, wantsDigests: true, pacer: Pacer(bytesPerSecond: 0), cpuCount: 64,
        placement: placement),
      onEvent: { [events = harness.events] in events.post(.sending($0)) })
    let receiver = ReceivingPipeline(
      memory: arrived, connections: harness.far,
      session: .init(codecs: [.none], laneCount: laneCount, channelCount: 2), placement: placement,
      onEvent: { [events = harness.events] in events.post(.receiving($0)) })
    try harness.move(sender, receiver, laneCount: laneCount)
    sender.stop()
    receiver.stop()
    #expect(said.withLock { $0 } == [], "everything could be applied")
    let digests = source.digests()
    let assignment = LaneAssignment(blocks: table, laneCount: laneCount, channelCount: 2, homes: placement.homes)
    var elsewhere = 0
    for block in nodes.indices {
      let found = try arrived.digest(block: block, spans: 0..<table.spanCount(block: block))
      #expect(found == digests[block], "block \(block)")
      for span in 0..<table.spanCount(block: block) {
        let lane = assignment.lane(block: block, span: span)
        #expect(placement.lanes[lane].node == (nodes.count > 1 ? nodes[block].number : placement.lanes[lane].node))
        let page = UInt(bitPattern: unsafe arrived.base(block: block)) + UInt(span * PageGeometry.spanByteCount)
        let channel = assignment.channel(ofLane: lane)
        if try MemoryPolicy.nodes(ofPages: [page]) != [placement.receivers[channel].node] { elsewhere += 1 }
      }
    }
    // Where the kernel makes huge pages unasked, one that crosses the end of a stripe lies with whoever came first.
    #expect(
      elsewhere * 4 < nodes.count * 24, "\(elsewhere) of \(nodes.count * 24) spans do not lie with their receiver")
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
