// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Logging
import Migration
import PageCodecs
import PageModel
import TestSupport
import Testing
import Transport
import Wire

@testable import QEMUBridge

@Suite("What a proxy's other half may ask for")
struct RelayHelloTests {
  /// What a destination's half answers to a `hello`; no hypervisor is there.
  private static func answer(_ change: (inout ControlMessage.Hello) -> Void) throws -> ControlMessage {
    let directory = TemporaryDirectory()
    let listener = try Listener(endpoint: .tcp(host: "127.0.0.1", port: 0), options: .init())
    let destination = RelayDestination(
      listener: listener,
      configuration: .init(
        hypervisor: .unix(path: directory.file("nobody")), connectTimeout: .zero, software: "test"),
      logger: .silent)
    let thread = HostThread(name: "test-dest") { _ = destination.run() }
    defer {
      destination.cancel("over")
      thread.join()
    }
    let connection = try Dialer(endpoint: listener.endpoint, options: .init()).connect(within: .seconds(5))
    connection.setTimeout(.seconds(10))
    var hello = ControlMessage.Hello(
      session: .random(), channelCount: 1, laneCount: 1, features: [.relay, .deltas], codecs: [1], software: "test",
      blocks: [RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: 1 << 20)])
    change(&hello)
    let control = ControlChannel(connection)
    try control.send(.hello(hello))
    return try control.receive()
  }

  private static func code(_ message: ControlMessage) -> FailureCode? {
    switch message {
    case .error(let refusal), .reject(let refusal): FailureCode(rawValue: refusal.code)
    default: nil
    }
  }

  @Test("Every hello that cannot be served is refused with its reason, before a hypervisor is looked for")
  func refused() throws {
    let history = try #require(CodecNumbers.withHistory)
    #expect(Self.code(try Self.answer { $0.codecs = [history] }) == .protocolViolation)
    #expect(Self.code(try Self.answer { $0.codecs = [1, 1] }) == .protocolViolation)
    #expect(Self.code(try Self.answer { $0.codecs = [250] }) == .codecUnknown)
    #expect(Self.code(try Self.answer { $0.features = [.relay, .digests] }) == .protocolViolation)
    #expect(Self.code(try Self.answer { $0.features = [.relay, .lanesMove] }) == .protocolViolation)
    #expect(Self.code(try Self.answer { $0.features = [.deltas] }) == .refused)
    let unprintable = try Self.answer { hello in
      hello.blocks = (0..<2).map {
        RAMBlock(name: "\u{1b}[2J", guestPhysicalBase: UInt64($0) << 30, byteCount: 4096)
      }
    }
    guard case .error(let refusal) = unprintable else { throw MigrationFailure(.internal, "\(unprintable)") }
    #expect(refusal.reason.contains("' [2J'"))
    let huge = Self.code(
      try Self.answer {
        $0.codecs = [history]
        ($0.historyLog, $0.laneCount) = (29, 256)
      })
    #expect(huge == .refused)
  }

  @Test("One that can be served comes as far as the hypervisor")
  func served() throws { #expect(Self.code(try Self.answer { _ in }) == .hypervisorFailed) }
}

private enum CodecNumbers {
  /// Of a codec that looks back over what it has sent.
  static var withHistory: UInt8? {
    CodecRegistry.all.first { $0 is any HistoryCodec.Type }.map { $0.identity.tag.rawValue }
  }
}
