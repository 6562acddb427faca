// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Lanes
import Logging
import Migration
import TestSupport
import Testing
import Transport

@testable import QEMUBridge

@Suite("A pair of proxies between two hypervisors")
struct RelayPairTests {
  /// Sends a scripted stream through a pair; the destination must have what the source has, and its state after it.
  private static func migrate(
    _ pair: ProxyPair, seed: UInt64, hasReturnPath: Bool = true, _ prepare: (inout ScriptedSource) -> Void = { _ in }
  ) throws -> (source: RelayReport, destination: RelayReport) {
    var source = ScriptedSource(seed: seed)
    source.hasReturnPath = hasReturnPath
    prepare(&source)
    var taken: TakenStream?
    let reports = try pair.run {
      let out = try pair.leave()
      let feeding = Feeding(source, out, hasReturnPath: hasReturnPath)
      let arriving = try pair.arrive()
      // Nobody waits for an answer without a return path: it might come when the source has closed.
      taken = TakenStream(arriving) { if hasReturnPath { try? arriving.send($0) } }
      arriving.finishSending()
      source = try feeding.finish()
    }
    let stream = try #require(taken)
    #expect(stream.error == nil)
    #expect(stream.state == source.state)
    #expect(stream.memory.count == 3)
    for (block, expected) in source.memory.enumerated() where !stream.memory[block][...].isSame(as: expected[...]) {
      let differ = stride(from: 0, to: expected.count, by: 4096).filter {
        expected[$0..<$0 + 4096] != stream.memory[block][$0..<$0 + 4096]
      }
      Issue.record("block \(block): pages \(differ.map { $0 / 4096 }) differ (seed \(seed))")
    }
    let (from, to) = (try #require(reports.source.first), try #require(reports.destination.first))
    #expect(from.failure == nil && from.phase == .completed, "\(from)")
    #expect(to.failure == nil && to.phase == .completed, "\(to)")
    return (from, to)
  }

  @Test(
    "What arrives is what was sent last, whatever carries it",
    arguments: [
      ("none", "off"), ("none", "auto"), ("lz4", "off"), ("zstd:1", "auto"), ("deflate:1", "1MiB"), ("auto", "auto"),
    ],
    [1, 4])
  func carries(way: (codec: String, cache: String), channels: Int) throws {
    let cache = try #require(CacheBudget.Size(parsing: way.cache))
    let pair = try ProxyPair(codec: way.codec, deltaCache: cache, channels: channels)
    let (source, destination) = try Self.migrate(pair, seed: UInt64(channels))
    #expect(source.mode == .pages && destination.mode == .pages)
    #expect(source.pages.received > 718)
    #expect(source.pages.data + source.pages.delta + source.pages.zero + source.pages.unchanged > 0)
    #expect(source.guestBytes == 718 * 4096)
  }

  @Test("Without a return path, and with none of it kept", arguments: [1, 2, 3] as [UInt64])
  func noReturnPath(seed: UInt64) throws {
    let (source, _) = try Self.migrate(try ProxyPair(), seed: seed, hasReturnPath: false)
    #expect(source.heldBytes <= source.highestWindowBytes + 64 * 4096)
  }

  @Test("On a slow link versions are overtaken, and what is under way stays small")
  func slow() throws {
    let pair = try ProxyPair(deltaCache: .off, bandwidth: 8_000_000)
    let (source, _) = try Self.migrate(pair, seed: 7) { $0.rounds = 60 }
    #expect(source.pages.superseded > 0)
    #expect(source.highestWindowBytes < 3 << 20)
  }

  @Test("A hypervisor that breaks off: the other one gets no end, and both sides say why")
  func breaksOff() throws {
    let pair = try ProxyPair()
    var taken: TakenStream?
    let reports = try pair.run {
      var source = ScriptedSource(seed: 3)
      let out = try pair.leave()
      var sections = 0
      source.rounds = 5
      source.run { bytes in
        sections += 1
        if sections < 4 { try? out.send(bytes) }
      }
      let arriving = try pair.arrive()
      out.shutDown()
      taken = TakenStream(arriving)
    }
    #expect(taken?.error != nil)
    #expect(taken?.state == [])
    let source = try #require(reports.source.first)
    #expect(source.failure?.code == FailureCode.hypervisorFailed.rawValue, "\(source)")
    #expect(reports.destination.first?.failure != nil)
  }

  @Test("A stream that is encrypted is refused at once, in words that say what to do")
  func encrypted() throws {
    let pair = try ProxyPair()
    let reports = try pair.run {
      let out = try pair.leave()
      // A client's hello begins so (RFC 8446, 5.1), and waits for an answer.
      try out.send([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3])
      out.setTimeout(.seconds(20))
      var room = [UInt8](repeating: 0, count: 16)
      #expect((try? out.receiveSome(into: &room)) ?? 0 == 0)
    }
    let failure = try #require(reports.source.first?.failure)
    #expect(failure.code == FailureCode.hypervisorFailed.rawValue && failure.reason.contains("tls-creds"), "\(failure)")
    #expect(reports.destination.allSatisfy { $0.phase != .completed })
  }

  @Test("A destination that dies: the source's hypervisor sees its socket closed")
  func destinationDies() throws {
    let pair = try ProxyPair(bandwidth: 4_000_000)
    let reports = try pair.run {
      let out = try pair.leave()
      let feeding = Feeding(ScriptedSource(seed: 4), out, hasReturnPath: true)
      let arriving = try pair.arrive()
      HostClock.sleep(nanoseconds: 100_000_000)
      arriving.shutDown()
      let began = HostClock.now()
      #expect(throws: (any Error).self) { _ = try feeding.finish() }
      #expect(HostClock.now() - began < 5_000_000_000)
    }
    #expect(reports.source.first?.failure?.code == FailureCode.hypervisorFailed.rawValue)
    #expect(reports.destination.first?.failure?.code == FailureCode.hypervisorFailed.rawValue)
  }

  @Test("No hypervisor at the destination: the source's sees a failure at once")
  func nobodyListens() throws {
    let directory = TemporaryDirectory()
    let between = try Listener(endpoint: .tcp(host: "127.0.0.1", port: 0), options: .init())
    let destination = RelayDestination(
      listener: between,
      configuration: .init(
        hypervisor: .unix(path: directory.file("nobody")), connectTimeout: .zero, software: "test"),
      logger: .silent)
    let departure = RelayDeparture(
      listener: try Listener(endpoint: .unix(path: directory.file("out")), options: .init()),
      configuration: .init(endpoint: between.endpoint, software: "test"),
      logger: .silent)
    let arrival = HostThread(name: "test-dest") { _ = destination.run() }
    let source = HostThread(name: "test-source") { _ = departure.run() }
    let out = try Dialer(endpoint: .unix(path: directory.file("out")), options: .init()).connect(within: .seconds(5))
    let feeding = Feeding(ScriptedSource(seed: 4), out, hasReturnPath: true)
    #expect(throws: (any Error).self) { _ = try feeding.finish() }
    source.join()
    arrival.join()
    #expect(departure.reports.first?.failure?.reason.contains("does not listen") == true, "\(departure.reports)")
  }

  @Test("A stream that cannot be taken apart is passed on as it is, both ways")
  func verbatim() throws {
    let pair = try ProxyPair()
    // A section that iterates and is not RAM comes first.
    let stream: [UInt8] =
      [0x51, 0x45, 0x56, 0x4d, 0, 0, 0, 3, 1, 0, 0, 0, 9, 5] + Array("block".utf8) + [0, 0, 0, 0, 0, 0, 0, 1]
      + (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 7) }
    var taken: [UInt8] = []
    let reports = try pair.run {
      let out = try pair.leave()
      let feeding = HostThread(name: "test-feed") {
        try? out.send(stream)
        out.finishSending()
      }
      let arriving = try pair.arrive()
      taken = try arriving.receive(count: stream.count)
      try arriving.send(Array("answer".utf8))
      arriving.finishSending()
      feeding.join()
      #expect(try out.receive(count: 6) == Array("answer".utf8))
    }
    #expect(taken == stream)
    #expect(reports.source.first?.mode == .verbatim && reports.source.first?.failure == nil, "\(reports)")
    #expect(reports.destination.first?.failure == nil)
  }
}

/// Sends a scripted source's stream from a thread of its own, and takes the answers.
final class Feeding: @unchecked Sendable {
  private var thread: HostThread?
  private var source: ScriptedSource
  private var failure: (any Error)?

  init(_ source: ScriptedSource, _ out: Connection, hasReturnPath: Bool) {
    self.source = source
    self.source.hasReturnPath = hasReturnPath
    let wantsAnswers = self.source.hasReturnPath
    thread = HostThread(name: "test-feed") { [self] in
      do {
        try self.source.run { try out.send($0) }
        // Pong and the last word; without a return path the source closes as soon as it has sent all.
        if wantsAnswers { _ = try out.receive(count: 16) }
        out.finishSending()
      } catch { failure = error }
    }
  }

  func finish() throws -> ScriptedSource {
    thread?.join()
    if let failure { throw failure }
    return source
  }
}
