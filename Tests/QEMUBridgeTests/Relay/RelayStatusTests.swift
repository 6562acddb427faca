// SPDX-License-Identifier: Apache-2.0
import Control
import HostSystem
import Lanes
import Migration
import PageCodecs
import Synchronization
import TestSupport
import Testing
import Transport

@testable import QEMUBridge

/// What a pair says of itself while it runs, and what can be changed, through control sockets as an operator has them.
@Suite("A pair of proxies that is watched and steered")
struct RelayStatusTests {
  /// Of a source's stream: its bytes, and the pages in it.
  private static func count(_ source: ScriptedSource) throws -> (bytes: UInt64, pages: UInt64) {
    var (copy, all) = (source, [UInt8]())
    copy.run { all += $0 }
    var reader = try StreamReader(MemorySource(all))
    var pages: UInt64 = 0
    while let element = try reader.next() { if case .page = element.kind { pages += 1 } }
    return (UInt64(all.count), pages)
  }

  @Test("While pages flow the figures are true, on both sides; in the end they are the report's")
  func figures() throws {
    let watched = try WatchedPair(try ProxyPair(deltaCache: .off, bandwidth: 1_500_000))
    let (pair, source) = (watched.pair, ScriptedSource.scripted(11))
    let whole = try Self.count(source)
    let before = try watched.client("source").ask(.status, as: ControlStatus.self).statistics
    #expect(before.status == .setup && before.relay?.connections == 0 && before.relay?.mode == nil)
    #expect(before.totalTime == 0 && before.ram.remaining == nil)
    let reports = try pair.run {
      let out = try pair.leave()
      let feeding = Feeding(source, out, hasReturnPath: true)
      let arriving = try pair.arrive()
      let taking = HostThread(name: "test-take") {
        _ = TakenStream(arriving) { try? arriving.send($0) }
        arriving.finishSending()
      }
      try watched.wait("pages") { $0.pages.data > 100 }
      let began = HostClock.now()
      let (client, other) = (try watched.client("source"), try watched.client("destination"))
      var last = try client.ask(.status, as: ControlStatus.self)
      let first = last.statistics
      while HostClock.now() - began < 500_000_000 {
        let now = try client.ask(.status, as: ControlStatus.self)
        let relay = try #require(now.statistics.relay)
        let was = try #require(last.statistics.relay)
        #expect(now.statistics.status == .active && relay.mode == .pages && relay.role == .source)
        #expect(relay.connections == 1 && relay.openConnections == 1 && now.statistics.channels == 2)
        #expect(now.statistics.ram.total == 718 * 4096 && now.statistics.lanes.count == 2)
        #expect(relay.streamBytes >= was.streamBytes && relay.streamBytes < whole.bytes)
        #expect(relay.channelBytes.count == 2)
        #expect(relay.channelBytes.reduce(0, +) <= now.statistics.ram.transferred + 1_000_000)
        // A page that was received is held, sent, overtaken, or about to be.
        let (received, overtaken) = (relay.receivedPages ?? 0, relay.supersededPages ?? 0)
        #expect(received >= was.receivedPages ?? 0 && overtaken <= received)
        let window = try #require(relay.window)
        #expect(window.used <= window.highest && window.limit >= 64 << 10 && window.highest < 3 << 20)
        #expect(now.statistics.expectedDowntime == nil && now.statistics.convergence == nil)
        last = now
        HostClock.sleep(nanoseconds: 20_000_000)
      }
      let seconds = Double(HostClock.now() - began) / 1e9
      let travelled = Double(last.statistics.ram.transferred - first.ram.transferred)
      #expect(travelled < 1_500_000 * seconds * 1.3 + 200_000, "\(travelled) in \(seconds) s")
      #expect(last.statistics.ram.mbps > 4 && last.statistics.ram.mbps < 25, "\(last.statistics.ram.mbps)")
      #expect(try #require(last.statistics.relay).streamRate > 100_000)
      let arrived = try other.ask(.status, as: ControlStatus.self)
      let relay = try #require(arrived.statistics.relay)
      #expect(relay.role == .destination && arrived.statistics.status == .active && arrived.settings.isEmpty)
      #expect(relay.window == nil && relay.receivedPages == nil && arrived.statistics.pages.data > 0)
      #expect(arrived.statistics.ram.total == 718 * 4096 && relay.channelBytes.count == 2)
      // Both call it the same.
      #expect(pair.destination.name == pair.departure.name)
      try client.set(["bandwidth": .integer(0)])
      _ = try feeding.finish()
      taking.join()
    }
    let from = try #require(reports.source.first)
    let end = pair.departure.statistics
    #expect(
      end.status == .completed && end.relay?.receivedPages == whole.pages && end.relay?.streamBytes == whole.bytes)
    #expect(end.ram.transferred == from.wireBytes && end.pages.data == from.pages.data && from.failure == nil)
    #expect(end.relay?.openConnections == 0 && end.relay?.heldBytes == from.heldBytes)
    #expect(pair.departure.summary.outcome == .completed && pair.departure.summary.relay?.streamBytes == whole.bytes)
    #expect(pair.destination.statistics.status == .completed && pair.destination.summary.failure == nil)
    let applied = pair.destination.statistics.pages
    #expect(applied.data == end.pages.data && applied.zero == end.pages.zero)
  }

  @Test("Bandwidth and codec change at once, and what is left goes at the new rate")
  func changes() throws {
    let reports = try WatchedPair.amid(try ProxyPair(deltaCache: .off, bandwidth: 400_000), seed: 21) { watched in
      let client = try watched.client("source")
      let began = (HostClock.now(), watched.pair.departure.statistics.ram.transferred)
      HostClock.sleep(nanoseconds: 500_000_000)
      let slow =
        Double(watched.pair.departure.statistics.ram.transferred - began.1)
        / (Double(HostClock.now() - began.0) / 1e9)
      #expect(slow < 700_000, "\(slow)")
      let values = try client.set(["bandwidth": .string("8MB"), "codec": .string("zstd:1"), "workers": .integer(1)])
      #expect(values["bandwidth"] == .integer(8_000_000) && values["codec"] == .string("zstd:1"))
      #expect(Set(values.keys) == ["bandwidth", "codec", "workers", "delta-cache"])
      let from = (HostClock.now(), watched.pair.departure.statistics.ram.transferred)
      HostClock.sleep(nanoseconds: 400_000_000)
      let fast =
        Double(watched.pair.departure.statistics.ram.transferred - from.1)
        / (Double(HostClock.now() - from.0) / 1e9)
      #expect(fast > slow * 2, "\(fast) after \(slow)")
      #expect(watched.pair.departure.statistics.codecsInUse == "zstd:1")
      try client.set(["bandwidth": .integer(0)])
    }
    #expect(reports.source.first?.failure == nil && reports.destination.first?.failure == nil, "\(reports)")
  }

  @Test(
    "A cancel by either half's socket ends both, each with its code, and the hypervisors' connections",
    arguments: ["source", "destination"])
  func cancels(half: String) throws {
    let pair = try ProxyPair(bandwidth: 400_000)
    let asked = Atomic<UInt64>(0)
    let reports = try WatchedPair.amid(pair, seed: 22) { watched in
      let watcher = try watched.client(half)
      _ = try watcher.ask(.watch, ["interval": .number(0.05)], as: [String: JSONValue].self)
      asked.store(HostClock.now(), ordering: .relaxed)
      _ = try watched.client(half).ask(.cancel, ["reason": .string("not today")], as: [String: JSONValue].self)
      let deadline = HostClock.now() + 3_000_000_000
      while !pair.departure.statistics.status.isFinal || !pair.destination.statistics.status.isFinal {
        try #require(HostClock.now() < deadline, "both end")
        HostClock.sleep(nanoseconds: 1_000_000)
      }
      watched.finish()
      var end: MigrationReport?
      while end == nil { if case .end(let report) = try watcher.nextEvent() { end = report } }
      #expect(end?.failure?.code == FailureCode.cancelled.rawValue && end?.outcome == .cancelled)
      #expect(end?.failure?.reason == "not today")
    }
    #expect(HostClock.now() - asked.load(ordering: .relaxed) < 5_000_000_000)
    let (here, there) = half == "source" ? (reports.source, reports.destination) : (reports.destination, reports.source)
    #expect(here.first?.failure?.code == FailureCode.cancelled.rawValue, "\(here)")
    #expect(there.first?.failure?.code == FailureCode.cancelledByPeer.rawValue, "\(there)")
    #expect(there.first?.failure?.reason.contains("not today") == true)
    #expect(pair.departure.statistics.status == .cancelled && pair.destination.statistics.status == .cancelled)
  }

  @Test("A cancel before any hypervisor has come")
  func cancelsEarly() throws {
    let watched = try WatchedPair(try ProxyPair())
    let pair = watched.pair
    let running = HostThread(name: "test-source") { _ = pair.departure.run() }
    _ = try watched.client("source").ask(.cancel, as: [String: JSONValue].self)
    running.join()
    #expect(pair.departure.statistics.status == .cancelled)
    #expect(pair.departure.summary.failure?.code == FailureCode.cancelled.rawValue)
  }

  @Test("A stream that is passed on as it is: said so, held to the bandwidth, and nothing to encode")
  func verbatim() throws {
    let watched = try WatchedPair(try ProxyPair(bandwidth: 4_000_000))
    let pair = watched.pair
    let stream: [UInt8] =
      [0x51, 0x45, 0x56, 0x4d, 0, 0, 0, 3, 1, 0, 0, 0, 9, 5] + Array("block".utf8) + [0, 0, 0, 0, 0, 0, 0, 1]
      + [UInt8](repeating: 7, count: 3_000_000)
    let began = HostClock.now()
    _ = try pair.run {
      let out = try pair.leave()
      let feeding = HostThread(name: "test-feed") {
        try? out.send(stream)
        out.finishSending()
      }
      let arriving = try pair.arrive()
      let taking = HostThread(name: "test-take") {
        _ = try? arriving.receive(count: stream.count)
        arriving.finishSending()
      }
      try watched.wait("the mode") { $0.relay?.mode == .verbatim && $0.relay?.passedBytes ?? 0 > 100_000 }
      let client = try watched.client("source")
      #expect(throws: ControlClientError.self) { try client.set(["codec": .string("lz4")]) }
      let now = pair.departure.statistics
      #expect(now.status == .active && now.ram.total == 0 && now.lanes.isEmpty && now.codecs.isEmpty)
      feeding.join()
      taking.join()
    }
    // 3 MB at 4 MB/s, less what may be caught up.
    #expect(HostClock.now() - began > 500_000_000)
    let end = pair.departure.statistics
    #expect(end.status == .completed && end.relay?.passedBytes == UInt64(stream.count))
    #expect(end.relay?.streamBytes == UInt64(stream.count))
  }

  @Test("Several connections are one migration: it is over, and well, when all of them are")
  func phases() {
    func phase(_ phases: Phase...) -> Phase {
      MigrationStatistics.phase(phases.map { RelayReport(role: .source, phase: $0, mode: .verbatim, seconds: 0) })
    }
    #expect(phase() == .setup && phase(.setup, .setup) == .setup && phase(.active, .setup) == .active)
    #expect(phase(.switchover, .active) == .switchover && phase(.completed, .setup) == .active)
    #expect(phase(.completed, .active, .failed) == .active)
    #expect(phase(.completed, .completed) == .completed && phase(.completed, .failed, .cancelled) == .failed)
    #expect(phase(.completed, .cancelled) == .cancelled)
  }
}
