// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Lanes
import Migration
import TestSupport
import Testing
import Transport

@testable import QEMUBridge

@Suite("A pair of proxies between two hypervisors with multifd")
struct RelayMultifdTests {
  private static let ways = [
    MultifdSource.Way(),
    MultifdSource.Way(channels: 4, zeroInPackets: false, command: [8, 0, 11, 0, 0]),
    MultifdSource.Way(flushes: false, zeroInPackets: false, command: [8, 0, 11, 0, 0]),
    MultifdSource.Way(channels: 4, flushes: false),
    MultifdSource.Way(channels: 1, flushes: false),
    MultifdSource.Way(channels: 3),
  ]

  @Test(
    "Of every page the version behind the last barrier arrives, whichever connection had it", arguments: ways,
    [1, 2] as [UInt64])
  func carries(way: MultifdSource.Way, seed: UInt64) throws {
    let source = MultifdSource(way, seed: seed)
    let result = try ProxyPair(codec: seed == 1 ? "none" : "lz4").migrate(source)
    let taken = result.taken.stream
    #expect(taken.error == nil && taken.state == source.state)
    try #require(taken.memory.count == source.memory.count, "\(result.source)")
    for (block, expected) in source.memory.enumerated() where !taken.memory[block][...].isSame(as: expected[...]) {
      let differ = stride(from: 0, to: expected.count, by: 4096).filter {
        expected[$0..<$0 + 4096] != taken.memory[block][$0..<$0 + 4096]
      }
      Issue.record("block \(block): pages \(differ.map { $0 / 4096 }) differ (seed \(seed))")
    }
    // The destination waits for as many of them on each channel as there are in its stream.
    let barriers = way.flushes ? taken.flushes : taken.sections
    #expect(result.taken.barriers == Array(repeating: barriers, count: way.channels))
    #expect(result.source.count == way.channels + 1 && result.destination.count == way.channels + 1)
    #expect((result.source + result.destination).allSatisfy { $0.failure == nil }, "\(result.source)")
    let main = try #require(result.source.first { $0.guestBytes > 0 })
    #expect(main.mode == .pages && result.destination.contains { $0.mode == .pages })
    #expect(
      main.pages.received >= 718
        && main.streamBytes == UInt64((source.channels + [source.stream]).reduce(0) { $0 + $1.count }))
  }

  @Test("On a slow link versions are overtaken, and what is under way stays small", arguments: [true, false])
  func slow(flushes: Bool) throws {
    let source = MultifdSource(.init(channels: 4, flushes: flushes), seed: 9, rounds: 40)
    let result = try ProxyPair(deltaCache: .off, bandwidth: 8_000_000).migrate(source)
    let memory = result.taken.stream.memory
    #expect(memory.count == source.memory.count && result.taken.stream.state == source.state)
    #expect(zip(memory, source.memory).allSatisfy { $0[...].isSame(as: $1[...]) })
    let main = try #require(result.source.first { $0.guestBytes > 0 })
    #expect(main.pages.superseded > 0 && main.failure == nil)
    // A packet of each channel on top of what a single connection may have.
    #expect(main.highestWindowBytes < 3 << 20 + 4 * 600_000)
  }

  @Test("A channel that ends before a barrier: both sides fail, at once, and there is no guest", arguments: 0..<4)
  func channelEnds(which: Int) throws {
    var source = MultifdSource(.init(channels: 2, flushes: which % 2 == 0), seed: 11)
    // Between packets (behind the opening and two packets that say SYNC), or in the middle of one.
    source.channels[1] = Array(source.channels[1].prefix(which < 2 ? 64 + 1344 : source.channels[1].count / 2))
    let began = HostClock.now()
    let result = try ProxyPair().migrate(source)
    #expect(HostClock.now() - began < 20_000_000_000)
    #expect(result.taken.stream.error != nil && result.taken.stream.state == [])
    #expect(result.source.allSatisfy { $0.failure?.code == FailureCode.hypervisorFailed.rawValue }, "\(result.source)")
    #expect(result.destination.allSatisfy { $0.failure != nil })
  }

  @Test("The stream ends in the middle: nobody waits for its barriers")
  func streamEnds() throws {
    var source = MultifdSource(.init(channels: 3), seed: 12)
    source.stream = Array(source.stream.prefix(source.streamHead + 10))
    let result = try ProxyPair().migrate(source, breaksOff: true)
    #expect(result.source.allSatisfy { $0.failure?.code == FailureCode.hypervisorFailed.rawValue }, "\(result.source)")
    #expect(result.taken.stream.error != nil)
  }

  /// A hypervisor that packs its pages otherwise: every packet but the first says so.
  private static func packed(_ source: MultifdSource, flags: UInt8, version: UInt8 = 1) -> MultifdSource {
    var source = source
    for channel in source.channels.indices {
      let head = 64 + 1344
      source.channels[channel].replaceSubrange(head + 8..<head + 12, with: [0, 0, 0, flags])
      source.channels[channel][head + 7] = version
    }
    return source
  }

  @Test(
    "Pages that are packed otherwise pass as they are, on all connections",
    arguments: [(2, 1), (4, 1), (0x40, 1), (0, 2)] as [(UInt8, UInt8)])
  func opaque(flags: UInt8, version: UInt8) throws {
    let source = Self.packed(MultifdSource(.init(channels: 2), seed: 13, rounds: 3), flags: flags, version: version)
    let result = try ProxyPair().migrate(source)
    #expect(result.taken.channels == source.channels)
    #expect(result.taken.stream.flushes > 3 && result.taken.stream.state == source.state)
    #expect((result.source + result.destination).allSatisfy { $0.mode == .verbatim && $0.failure == nil })
  }

  @Test("Packets that change their kind later are an error, not pages")
  func opaqueLater() throws {
    var source = MultifdSource(.init(channels: 2), seed: 14)
    // The last packet says SYNC.
    let flags = source.channels[0].count - 1344 + 11
    source.channels[0][flags] = 3
    let result = try ProxyPair().migrate(source)
    #expect(result.source.contains { $0.failure?.reason.contains("flags 0x3") == true }, "\(result.source)")
    #expect(result.source.allSatisfy { $0.failure != nil } && result.taken.stream.state == [])
  }

  @Test("Pages outside of their block, or of one that is not there, are an error", arguments: [64 + 5, 320 + 2])
  func outside(at: Int) throws {
    var source = MultifdSource(.init(channels: 2), seed: 15)
    for channel in source.channels.indices { source.channels[channel][64 + 1344 + at] ^= 0x55 }
    let result = try ProxyPair().migrate(source)
    #expect(result.source.allSatisfy { $0.failure?.code == FailureCode.hypervisorFailed.rawValue }, "\(result.source)")
    #expect(result.taken.stream.state == [])
  }

  @Test(
    "Sections without footers, which nobody could know of before the first page, are an error",
    arguments: [true, false])
  func noFooters(flushes: Bool) throws {
    let source = MultifdSource(.init(channels: 2, flushes: flushes, hasFooters: false), seed: 18)
    let result = try ProxyPair().migrate(source)
    #expect(result.source.allSatisfy { $0.failure?.reason.contains("without footers") == true }, "\(result.source)")
    #expect(result.taken.stream.state == [])
  }

  @Test("Barriers without channels are an error")
  func noChannels() throws {
    let bytes = MultifdSource(.init(channels: 1), seed: 16).stream
    let pair = try ProxyPair()
    let reports = try pair.run {
      let out = try pair.leave()
      let feeding = HostThread(name: "test-feed") { try? out.send(bytes) }
      let stream = TakenStream(try pair.arrive())
      feeding.join()
      #expect(stream.state == [])
    }
    #expect(reports.source.first?.failure?.reason.contains("none has connected") == true, "\(reports.source)")
  }

  @Test("What a channel's first bytes say, as they come")
  func glances() {
    let source = MultifdSource(.init(channels: 1), seed: 17)
    let bytes = source.channels[0]
    for count in 0..<MultifdGlance.headByteCount { #expect(MultifdGlance(bytes.prefix(count)) == .coming) }
    #expect(MultifdGlance(bytes.prefix(MultifdGlance.headByteCount)) == .idle)
    #expect(MultifdGlance(bytes.prefix(MultifdGlance.byteCount - 1)) == .idle)
    #expect(MultifdGlance(bytes.prefix(MultifdGlance.byteCount)) == .plain)
    var random = SeededGenerator(seed: 18)
    for _ in 0..<2000 {
      var damaged = Array(bytes.prefix(MultifdGlance.byteCount))
      damaged[Int.random(in: 0..<damaged.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
      // A word of eight that matter, or nothing.
      _ = MultifdGlance(damaged.prefix(Int.random(in: 0...damaged.count, using: &random)))
    }
    #expect(MultifdGlance(Array("GET / HTTP/1.1".utf8)[...]) == .opaque("what is no multifd packet"))
  }
}
