// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import HostSystem
import Migration
import PageCodecs
import PageKernels
import PageModel
import TestSupport
import Testing
import Transport
import Wire

/// Everything that can go wrong has one clear reason on both sides, and nothing half-written is left.
@Suite struct FailureTests {
  static let bytes = SamplePages.image(Array(repeating: .random, count: 512), seed: 21)

  /// Runs a migration through a relay with a fault.
  private func run(
    _ fault: FaultyRelay.Fault, codec: String = "none"
  ) throws -> (source: MigrationReport, harness: Harness, MigrationReport) {
    let harness = try Harness()
    harness.start()
    let relay = try FaultyRelay(to: harness.listener.endpoint, fault: fault)
    defer { relay.stop() }
    let report = try harness.source(try harness.image(Self.bytes), codec: codec, to: relay.endpoint, deadPeerSeconds: 2)
      .run()
    return (report, harness, try harness.finish())
  }

  @Test("A link that is cut in the middle fails both sides, and the destination keeps nothing")
  func cutInTheMiddle() throws {
    let (source, harness, destination) = try run(.cut(connection: 1, afterBytes: 300_000))
    #expect(source.failure?.code == FailureCode.peerLost.rawValue)
    #expect(destination.failure?.code == FailureCode.peerLost.rawValue)
    harness.expectNothingLeft()
  }

  @Test(
    "A bit that flips on the way is noticed, and named to the source",
    arguments: [(1, 200_000), (2, 70), (1, 20)], ["none", "lz4"])
  func flippedBit(_ place: (connection: Int, at: Int), codec: String) throws {
    let (source, harness, destination) = try run(.flip(connection: place.connection, at: place.at), codec: codec)
    #expect(destination.outcome == .failed)
    #expect(source.outcome == .failed)
    if place.at > 100 {
      // Raw pages have no checksum: what notices is the digest of their block. These are random: lz4 passes them on.
      #expect(destination.failure?.code == FailureCode.digestMismatch.rawValue)
      #expect(source.failure?.code == FailureCode.digestMismatch.rawValue)
      #expect(source.failure?.reason.contains("digest") == true)
    }
    harness.expectNothingLeft()
  }

  @Test("A peer that falls silent counts as lost when its time is up")
  func silence() throws {
    let started = HostClock.now()
    let (source, harness, destination) = try run(.stall(connection: 0, afterBytes: 200))
    #expect(source.outcome == .failed)
    #expect(destination.outcome == .failed)
    #expect(HostClock.now() - started < 15_000_000_000)
    harness.expectNothingLeft()
  }

  @Test(
    "A connection that is lost after the commit leaves the outcome unknown at the source, the guest at the destination")
  func lostAfterCommit() throws {
    // Type 13 is `resumed`: the destination has the guest, and the source never hears of it.
    let (source, harness, destination) = try run(.cutAfterReply(type: 13))
    #expect(source.failure?.code == FailureCode.outcomeUnknown.rawValue)
    #expect(destination.outcome == .completed)
    #expect(try TemporaryDirectory.read(harness.output) == Self.bytes)
  }

  @Test("A connection that is lost before the commit leaves the guest at the source alone")
  func lostBeforeCommit() throws {
    // Type 11 is `ready`.
    let (source, harness, destination) = try run(.cutAfterReply(type: 11))
    #expect(source.failure?.code == FailureCode.peerLost.rawValue)
    #expect(destination.failure?.code == FailureCode.peerLost.rawValue)
    harness.expectNothingLeft()
  }

  @Test("Blocks that differ are refused by both sides, with the difference")
  func blocksDiffer() throws {
    let other = try BlockTable([RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: 1 << 20)])
    let harness = try Harness(expectedBlocks: other)
    harness.start()
    let source = try harness.source(try harness.image(Self.bytes)).run()
    let destination = try harness.finish()
    #expect(source.failure?.code == FailureCode.blocksDiffer.rawValue)
    #expect(source.failure?.fromPeer == true)
    #expect(source.failure?.reason.contains("'ram' should have 1048576 bytes") == true)
    #expect(destination.failure?.code == FailureCode.blocksDiffer.rawValue)
    harness.expectNothingLeft()
  }

  @Test("A guest over the memory limit is refused")
  func memoryLimit() throws {
    let harness = try Harness(memoryLimit: 1 << 20)
    harness.start()
    let source = try harness.source(try harness.image(Self.bytes)).run()
    #expect(source.failure?.code == FailureCode.refused.rawValue)
    #expect(source.failure?.reason.contains("--memory-limit") == true)
    #expect(try harness.finish().failure?.code == FailureCode.refused.rawValue)
  }

  @Test("A history over the receiver's limit is refused; without a codec that has one, it does not matter")
  func historyLimit() throws {
    for (codec, isRefused) in [("auto", true), ("zstd-long:3", true), ("zstd:3", false)] {
      let harness = try Harness(historyLimit: 1 << 19)
      harness.start()
      let source = try harness.source(try harness.image(Self.bytes), codec: codec).run()
      let destination = try harness.finish()
      #expect((source.failure?.code == FailureCode.refused.rawValue) == isRefused, "\(codec)")
      #expect((source.failure?.reason.contains("--history-limit") == true) == isRefused, "\(codec)")
      #expect((destination.outcome == .completed) == !isRefused, "\(codec)")
    }
  }

  @Test("A destination that cannot write tells both sides why")
  func diskFull() throws {
    let harness = try Harness(makeGuest: { (blocks) throws(GuestMemoryError) in
      StillArrival(
        FailingMemory(
          try AnonymousMemory(blocks: blocks, populateAhead: false), failure: .diskFull(path: "x", offset: 7)))
    })
    harness.start()
    let source = try harness.source(try harness.image(Self.bytes)).run()
    #expect(try harness.finish().failure?.code == FailureCode.diskFull.rawValue)
    #expect(source.failure?.code == FailureCode.diskFull.rawValue)
    #expect(source.failure?.reason.contains("disk is full") == true)
  }

  @Test("Memory that lies is caught by the digest, before the commit")
  func digestMismatch() throws {
    let harness = try Harness(makeGuest: { (blocks) throws(GuestMemoryError) in
      StillArrival(FailingMemory(try AnonymousMemory(blocks: blocks, populateAhead: false), failure: nil))
    })
    harness.start()
    let source = try harness.source(try harness.image(Self.bytes)).run()
    #expect(try harness.finish().failure?.code == FailureCode.digestMismatch.rawValue)
    #expect(source.failure?.code == FailureCode.digestMismatch.rawValue)
  }

  @Test("An image that changes while it is sent is not committed")
  func imageChanges() throws {
    let harness = try Harness()
    harness.start()
    let image = try harness.image(Self.bytes)
    let session = try harness.source(image, bandwidth: 4 << 20)
    let writer = HostThread(name: "writer") {
      HostClock.sleep(nanoseconds: 100_000_000)
      _ = try? harness.folder.write([UInt8](repeating: 1, count: Self.bytes.count), to: "source.raw")
    }
    let source = session.run()
    writer.join()
    #expect(source.failure?.code == FailureCode.inputChanged.rawValue)
    #expect(try harness.finish().outcome == .failed)
    harness.expectNothingLeft()
  }

  @Test("Nobody comes: the receiver gives up when it was told to")
  func nobodyComes() throws {
    let harness = try Harness(waitLimit: .milliseconds(100))
    harness.start()
    #expect(try harness.finish().failure?.code == FailureCode.peerAbsent.rawValue)
  }
}

/// Memory that fails when it is written, or that keeps something else than it was given.
final class FailingMemory: DestinationMemory {
  private let inner: AnonymousMemory
  private let failure: GuestMemoryError?

  init(_ inner: AnonymousMemory, failure: GuestMemoryError?) {
    self.inner = inner
    self.failure = failure
  }

  var blocks: BlockTable { inner.blocks }
  var writtenByteCount: UInt64 { inner.writtenByteCount }

  func store(_ data: RawSpan, block: Int, span: Int, pages: PageMask) throws(GuestMemoryError) {
    if let failure { throw failure }
    var spoiled = (0..<data.byteCount).map { unsafe data.unsafeLoad(fromByteOffset: $0, as: UInt8.self) }
    spoiled[0] ^= 1
    try spoiled.withRawSpan { (span_) throws(GuestMemoryError) in
      try inner.store(span_, block: block, span: span, pages: pages)
    }
  }

  func clear(block: Int, span: Int, pages: PageMask) throws(GuestMemoryError) {
    try inner.clear(block: block, span: span, pages: pages)
  }

  func apply(
    _ deltas: RawSpan, places: ArraySlice<Range<Int>>, block: Int, span: Int, pages: PageMask
  ) throws(GuestMemoryError) {
    if let failure { throw failure }
    try inner.apply(deltas, places: places, block: block, span: span, pages: pages)
  }

  func digest(block: Int, spans: Range<Int>) throws(GuestMemoryError) -> BlockDigest {
    try inner.digest(block: block, spans: spans)
  }

  func prepareToComplete() throws(GuestMemoryError) { try inner.prepareToComplete() }
  func complete() throws(GuestMemoryError) { try inner.complete() }
  func discard() { inner.discard() }
}
