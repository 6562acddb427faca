// SPDX-License-Identifier: Apache-2.0
import Control
import HostSystem
import Lanes
import Migration
import PageCodecs
import TestSupport
import Testing
import Transport

@testable import QEMUBridge

/// A pair with a control socket on each half.
final class WatchedPair: Sendable {
  let pair: ProxyPair
  let (source, destination): (ControlSocket, ControlSocket)

  init(_ pair: ProxyPair) throws {
    self.pair = pair
    source = try ControlSocket(path: pair.directory.file("source.ctl"), version: "1")
    destination = try ControlSocket(path: pair.directory.file("destination.ctl"), version: "1")
    source.start(pair.departure)
    destination.start(pair.destination)
  }

  deinit { finish() }

  func finish() {
    source.finish(pair.departure.summary)
    destination.finish(pair.destination.summary)
  }

  func client(_ half: String) throws -> ControlClient {
    try ControlClient(path: pair.directory.file("\(half).ctl"))
  }

  /// Waits until the source's half says so.
  func wait(_ what: Comment, until isSo: (MigrationStatistics) throws -> Bool) throws {
    let deadline = HostClock.now() + 10_000_000_000
    while try !isSo(pair.departure.statistics) {
      try #require(HostClock.now() < deadline, what)
      HostClock.sleep(nanoseconds: 1_000_000)
    }
  }

  /// A migration that goes on until it is ended, in whose midst something is done.
  static func amid(
    _ pair: ProxyPair, seed: UInt64, _ body: (WatchedPair) throws -> Void
  ) throws -> (source: [RelayReport], destination: [RelayReport]) {
    let watched = try WatchedPair(pair)
    return try pair.run {
      let out = try pair.leave()
      let feeding = Feeding(.scripted(seed, rounds: 400), out, hasReturnPath: true)
      let arriving = try pair.arrive()
      let taking = HostThread(name: "test-take") {
        _ = TakenStream(arriving) { try? arriving.send($0) }
        arriving.finishSending()
      }
      defer { taking.join() }
      try watched.wait("pages") { $0.pages.data > 20 }
      do { try body(watched) } catch {
        pair.departure.cancel("the test failed")
        throw error
      }
      _ = try? feeding.finish()
    }
  }
}

extension ScriptedSource {
  /// With a return path, and that many rounds.
  static func scripted(_ seed: UInt64, rounds: Int = 30) -> ScriptedSource {
    var source = ScriptedSource(seed: seed)
    (source.rounds, source.hasReturnPath) = (rounds, true)
    return source
  }
}

extension ControlClient {
  /// Changes settings.
  /// - Returns: all of them, as they are then.
  @discardableResult
  func set(_ values: [String: JSONValue]) throws -> [String: JSONValue] {
    try ask(.set, values, as: [String: [String: JSONValue]].self)["settings"] ?? [:]
  }
}
