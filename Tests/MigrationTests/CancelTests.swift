// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Migration
import PageKernels
import PageModel
import Synchronization
import TestSupport
import Testing
import Transport
import Wire

/// Cancelling, from either side and in any phase before the commit, ends both within a second.
@Suite struct CancelTests {
  private static let second: UInt64 = 1_000_000_000
  static let bytes = SamplePages.image(Array(repeating: .random, count: 1024), seed: 41)

  @Test("Cancel while pages flow: both sides end as cancelled, nothing is left", arguments: [true, false])
  func whileActive(fromSource: Bool) throws {
    let harness = try Harness()
    harness.start()
    let session = try harness.source(try harness.image(Self.bytes), bandwidth: 1 << 20)
    final class Moment: Sendable { let at = Mutex<UInt64>(0) }
    let moment = Moment()
    let canceller = HostThread(name: "canceller") {
      while session.statistics.status != .active { HostClock.sleep(nanoseconds: 5_000_000) }
      HostClock.sleep(nanoseconds: 100_000_000)
      moment.at.withLock { $0 = HostClock.now() }
      if fromSource { session.cancel("enough") } else { harness.destination.cancel("enough") }
    }
    let source = session.run()
    let destination = try harness.finish()
    let taken = HostClock.now() - moment.at.withLock { $0 }
    canceller.join()
    #expect(taken < Self.second)
    #expect(source.outcome == .cancelled)
    #expect(destination.outcome == .cancelled)
    let (own, other) = fromSource ? (source, destination) : (destination, source)
    #expect(own.failure?.code == FailureCode.cancelled.rawValue)
    #expect(other.failure?.code == FailureCode.cancelledByPeer.rawValue)
    #expect(other.failure?.reason.contains("enough") == true)
    harness.expectNothingLeft()
  }

  @Test("Cancel while looking for a receiver")
  func whileConnecting() throws {
    let harness = try Harness()
    let session = try harness.source(
      try harness.image(Self.bytes), to: .unix(path: harness.folder.file("nobody")))
    let canceller = HostThread(name: "canceller") {
      HostClock.sleep(nanoseconds: 150_000_000)
      session.cancel("never mind")
    }
    let started = HostClock.now()
    let report = session.run()
    canceller.join()
    #expect(HostClock.now() - started < Self.second)
    #expect(report.outcome == .cancelled)
    #expect(report.failure?.reason == "never mind")
  }

  @Test("Cancel while waiting for a source")
  func whileWaiting() throws {
    let harness = try Harness(waitLimit: nil)
    harness.start()
    HostClock.sleep(nanoseconds: 50_000_000)
    let started = HostClock.now()
    harness.destination.cancel("going home")
    let report = try harness.finish()
    #expect(HostClock.now() - started < Self.second)
    #expect(report.outcome == .cancelled)
    harness.expectNothingLeft()
  }

  /// A source by hand, up to the destination's `ready`.
  private func reachReady(_ harness: Harness) throws -> ControlConnection {
    let control = try ControlConnection(harness)
    let blocks = [RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: 4096)]
    try control.send(
      .hello(.init(session: .random(), channelCount: 1, laneCount: 1, codecs: [0], software: "by hand", blocks: blocks))
    )
    guard case .accept(let accept) = try control.receive() else { throw CancellationError() }
    let data = try ControlConnection(harness)
    try data.send(.attach(.init(version: 1, token: accept.token, channel: 1)))
    #expect(try data.receive() == .attached)
    var mark = [UInt8](repeating: 0, count: FrameHeader.byteCount)
    let body: [UInt8] = []
    let header = FrameHeader(type: .endOfIteration, iteration: 1, lane: 0, bodyChecksum: PageHash.checksum(body))
    mark.withMutableRawSpan { header.encode(into: &$0) }
    try control.send(.iterationBegin(.init(iteration: 1, pageCount: 0)))
    try data.connection.send(mark)
    try control.send(.iterationEnd(.init(iteration: 1, zeroPageCount: 0, dataPageCount: 0, deltaPageCount: 0)))
    while true {
      if case .ack(let ack) = try control.receive(), ack.completedIteration == 1 { break }
    }
    try control.send(.final(.init(guestState: [], digests: [])))
    try control.skip { if case .ready = $0 { true } else { false } }
    control.keep(data)
    return control
  }

  @Test("A cancel that crosses the commit gives way: the source has let go, so the destination takes the guest")
  func crossesTheCommit() throws {
    let harness = try Harness()
    harness.start()
    let control = try reachReady(harness)
    harness.destination.cancel("too late")
    try control.skip(to: .cancel(reason: "too late"))
    try control.send(.commit)
    try control.skip { if case .resumed = $0 { true } else { false } }
    control.connection.shutDown()
    #expect(try harness.finish().outcome == .completed)
    #expect(TemporaryDirectory.exists(harness.output))
  }

  @Test("Whatever happens to data channels after 'ready', only the control channel says who has the guest")
  func dataChannelEndsBeforeCommit() throws {
    let harness = try Harness()
    harness.start()
    let control = try reachReady(harness)
    // The source's process ends right after its commit: all of its connections do, in any order.
    control.dropKept()
    HostClock.sleep(nanoseconds: 300_000_000)
    try control.send(.commit)
    control.connection.shutDown()
    #expect(try harness.finish().outcome == .completed)
    #expect(TemporaryDirectory.exists(harness.output))
  }

  @Test("A cancel after 'ready' ends as cancelled when the source heeds it")
  func heededAfterReady() throws {
    let harness = try Harness()
    harness.start()
    let control = try reachReady(harness)
    harness.destination.cancel("just in time")
    try control.skip(to: .cancel(reason: "just in time"))
    control.connection.shutDown()
    let report = try harness.finish()
    #expect(report.outcome == .cancelled)
    #expect(report.failure?.reason == "just in time")
    harness.expectNothingLeft()
  }
}

/// Control messages by hand, for tests that play one side themselves.
final class ControlConnection {
  let connection: Connection
  private var kept: [ControlConnection] = []

  init(_ harness: Harness) throws {
    connection = try Dialer(endpoint: harness.listener.endpoint, options: .init()).connect(within: .seconds(5))
    connection.setTimeout(.seconds(5))
  }

  func send(_ message: ControlMessage) throws { try connection.send(message.encoded()) }

  func receive() throws -> ControlMessage {
    let header = try ControlHeader(decoding: try connection.receive(count: ControlHeader.byteCount))
    return try ControlMessage(decoding: try connection.receive(count: header.bodyByteCount), header: header)
  }

  /// Receives until `expected` has come; only acks may come before it.
  func skip(to expected: ControlMessage) throws { try skip { $0 == expected } }

  /// Receives up to a message for which `isExpected` says yes.
  func skip(to isExpected: (ControlMessage) -> Bool) throws {
    while true {
      let message = try receive()
      if isExpected(message) { return }
      guard case .ack = message else {
        Issue.record("\(message) came out of turn")
        return
      }
    }
  }

  /// Lives as long as this one.
  func keep(_ other: ControlConnection) { kept.append(other) }

  func dropKept() {
    for other in kept { other.connection.shutDown() }
    kept = []
  }
}
