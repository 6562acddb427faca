// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Migration
import PageModel
import TestSupport
import Testing
import Transport
import Wire

/// Peers that are not what they should be, on either side.
@Suite struct StrangerTests {
  private static func hello(
    versions: ClosedRange<UInt16> = 1...1, codecs: [UInt8] = [0], blocks: [RAMBlock]? = nil
  ) -> ControlMessage.Hello {
    .init(
      versions: versions, session: .random(), channelCount: 1, laneCount: 1, codecs: codecs, software: "stranger",
      blocks: blocks ?? [RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: 4096)])
  }

  @Test("Strangers do not end a receiver that waits for its source")
  func strangersAreDropped() throws {
    let harness = try Harness()
    harness.start()
    let visitors: [[UInt8]] = [
      Array("GET / HTTP/1.1\r\nHost: somewhere\r\n\r\n".utf8), [UInt8](repeating: 0xa5, count: 4096), [],
      Array(ControlMessage.commit.encoded()),
      ControlMessage.attach(.init(version: 1, token: .random(), channel: 1)).encoded(),
      Array(ControlMessage.hello(Self.hello()).encoded().dropLast(3)),
    ]
    for bytes in visitors {
      let visitor = try ControlConnection(harness)
      try visitor.connection.send(bytes)
      visitor.connection.finishSending()
    }
    let bytes = SamplePages.mixedImage(pageCount: 100, seed: 31)
    let report = try harness.source(try harness.image(bytes)).run()
    #expect(report.failure?.reason == nil)
    #expect(try harness.finish().outcome == .completed)
    #expect(try TemporaryDirectory.read(harness.output) == bytes)
  }

  @Test("A source of another version is refused, and both sides say so")
  func otherVersion() throws {
    let harness = try Harness()
    harness.start()
    let connection = try ControlConnection(harness)
    try connection.send(.hello(Self.hello(versions: 7...9)))
    guard case .reject(let refusal) = try connection.receive() else {
      Issue.record("not rejected")
      return
    }
    #expect(refusal.code == FailureCode.versionMismatch.rawValue)
    #expect(refusal.reason.contains("1 to 1"))
    #expect(try harness.finish().failure?.code == FailureCode.versionMismatch.rawValue)
  }

  @Test("A codec that the receiver does not know is refused")
  func unknownCodec() throws {
    let harness = try Harness()
    harness.start()
    let connection = try ControlConnection(harness)
    try connection.send(.hello(Self.hello(codecs: [200])))
    guard case .reject(let refusal) = try connection.receive() else {
      Issue.record("not rejected")
      return
    }
    #expect(refusal.code == FailureCode.codecUnknown.rawValue)
    #expect(try harness.finish().failure?.code == FailureCode.codecUnknown.rawValue)
  }

  @Test("A codec with a history, and no size for it, is refused")
  func historyWithoutSize() throws {
    let harness = try Harness()
    harness.start()
    let connection = try ControlConnection(harness)
    try connection.send(.hello(Self.hello(codecs: [4])))
    guard case .reject(let refusal) = try connection.receive() else {
      Issue.record("not rejected")
      return
    }
    #expect(refusal.code == FailureCode.protocolViolation.rawValue)
    #expect(try harness.finish().failure?.code == FailureCode.protocolViolation.rawValue)
  }

  @Test("A source that declares overlapping blocks is refused")
  func overlappingBlocks() throws {
    let harness = try Harness()
    harness.start()
    let connection = try ControlConnection(harness)
    let blocks = [
      RAMBlock(name: "a", guestPhysicalBase: 0, byteCount: 8192),
      RAMBlock(name: "b", guestPhysicalBase: 4096, byteCount: 8192),
    ]
    try connection.send(.hello(Self.hello(blocks: blocks)))
    guard case .reject(let refusal) = try connection.receive() else {
      Issue.record("not rejected")
      return
    }
    #expect(refusal.reason.contains("overlap"))
    #expect(try harness.finish().outcome == .failed)
  }

  @Test("A source that never opens its data channels is given up")
  func missingChannels() throws {
    let harness = try Harness()
    harness.start()
    let connection = try ControlConnection(harness)
    try connection.send(.hello(Self.hello()))
    #expect(try harness.finish().failure?.code == FailureCode.peerLost.rawValue)
    withExtendedLifetime(connection) {}
    harness.expectNothingLeft()
  }

  @Test("A source that says 'final' without having sent anything is refused")
  func finalTooEarly() throws {
    let harness = try Harness()
    harness.start()
    let control = try ControlConnection(harness)
    try control.send(.hello(Self.hello()))
    guard case .accept(let accept) = try control.receive() else {
      Issue.record("not accepted")
      return
    }
    let data = try ControlConnection(harness)
    try data.send(.attach(.init(version: 1, token: accept.token, channel: 1)))
    #expect(try data.receive() == .attached)
    try control.send(.final(.init(guestState: [], digests: [])))
    try control.send(.commit)
    #expect(try harness.finish().failure?.code == FailureCode.protocolViolation.rawValue)
    harness.expectNothingLeft()
  }

  @Test("A server that is not PageFerry is named as such by the source", arguments: [true, false])
  func notPageFerry(answers: Bool) throws {
    let harness = try Harness()
    let listener = try Listener(endpoint: .tcp(host: "127.0.0.1", port: 0), options: .init())
    let server = HostThread(name: "server") {
      guard let visitor = try? listener.accept(within: .seconds(5)) else { return }
      if answers { try? visitor.send(Array("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".utf8)) }
      visitor.shutDown()
    }
    let report = try harness.source(try harness.image(SamplePages.image([.text], seed: 1)), to: listener.endpoint).run()
    server.join()
    #expect(report.failure?.code == FailureCode.notPageFerry.rawValue)
  }

  @Test("A second source is told that the receiver is busy")
  func busy() throws {
    let harness = try Harness()
    harness.start()
    let bytes = SamplePages.image(Array(repeating: .random, count: 600), seed: 33)
    let image = try harness.image(bytes)
    let first = try harness.source(image, bandwidth: 3 << 20)
    let thread = HostThread(name: "first") { _ = first.run() }
    while first.statistics.status != .active { HostClock.sleep(nanoseconds: 5_000_000) }
    let second = try harness.source(image).run()
    #expect(second.failure?.code == FailureCode.refused.rawValue)
    #expect(second.failure?.reason.contains("busy") == true)
    thread.join()
    #expect(try harness.finish().outcome == .completed)
    #expect(try TemporaryDirectory.read(harness.output) == bytes)
  }
}
