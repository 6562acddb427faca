// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Synchronization
import Transport
import Wire

@testable import Migration
@testable import QEMUBridge

/// Plays the half of a pair beside the source hypervisor with what a hostile other half answers, and checks what becomes of
/// it: the hypervisor gets the answers and nothing else, and no more counts as confirmed than was sent. Shared by the corpus
/// tests and the fuzzers.
///
/// All on one thread: a script's answers, and between them iterations that begin.
final class DepartureDriver {
  private static let configuration = RelaySource.Configuration(
    endpoint: .unix(path: "/nonexistent"), software: "driver")
  /// Ends what is heard at once; no answer says so.
  private static let pause = MigrationFailure(.internal, "the driver goes on")

  private let control: DriverSockets
  private let hypervisor: DriverSockets
  private let channel: ControlChannel
  private let source: RelaySource
  private let collector: DriverCollector

  /// What has left, in order, and the bytes of answers that the hypervisor must have.
  private var left: [(position: UInt64, iteration: UInt32, relayed: UInt64)] = []
  private var answers: [UInt8] = []
  private var confirmedIteration: UInt32 = 0
  private var taken: UInt64 = 0
  private var confirmedCount = 0
  private var room = [UInt8](repeating: 0, count: 4096)

  private init?() {
    guard let control = DriverSockets(), let hypervisor = DriverSockets() else { return nil }
    (self.control, self.hypervisor) = (control, hypervisor)
    channel = ControlChannel(control.near)
    collector = DriverCollector(hypervisor.far)
    source = RelaySource(
      hypervisor: hypervisor.near, siblings: Siblings(), controls: RelayControls(Self.configuration),
      configuration: Self.configuration, logger: DriverText.silence)
  }

  static func run(_ script: RelayScript) -> String? {
    guard let driver = DepartureDriver() else { return "no sockets" }
    var problem: String?
    do throws(MigrationFailure) { problem = try driver.play(script) } catch {
      problem = DriverText.problem(in: error.reason) ?? driver.problem()
    }
    driver.hypervisor.near.shutDown()
    let got = driver.collector.finish()
    return problem ?? (got == driver.answers ? nil : "the hypervisor has got something else than answers")
  }

  // MARK: The script

  private func play(_ script: RelayScript) throws(MigrationFailure) -> String? {
    var pieces = script.pieces[...]
    let first = script.greeting.map { RelayScript.message(2, $0) } ?? Self.accept
    do throws(TransportError) {
      try control.far.send(first)
      // What comes next waits in the socket until it is heard.
      if script.opening == nil { try control.far.send(ControlMessage.reserved.encoded()) }
    } catch { return "no sockets" }
    _ = try source.introduce(channel, nil)
    leave(byteCount: 100, iterations: 0, relaying: 100)
    if script.opening != nil { try reserve(&pieces) } else { try source.awaitReserved(channel) }
    channel.establish(sendLimit: .seconds(10))
    for piece in pieces {
      switch piece {
      case .turn(let bytes):
        let numbers = bytes + [UInt8](repeating: 0, count: 5)
        leave(
          byteCount: Int(numbers[0]) | Int(numbers[1]) << 8, iterations: UInt32(numbers[2] & 3),
          relaying: Int(numbers[3]) | Int(numbers[4]) << 8)
        source.settle { _ in }
      case .message(let type, let body): try hear(RelayScript.message(type, body))
      case .frame, .repairedFrame: continue
      }
      if let problem = problem() { return problem }
    }
    return nil
  }

  private static let accept = ControlMessage.accept(
    .init(version: 1, token: SessionIdentity(high: 1, low: 2), software: "driver")
  ).encoded()

  /// Waits for pages to be let in, while answers come.
  private func reserve(_ pieces: inout ArraySlice<RelayScript.Piece>) throws(MigrationFailure) {
    var said: [UInt8] = []
    var count = 0
    loop: for piece in pieces {
      count += 1
      guard case .message(let type, let body) = piece else { continue }
      let bytes = RelayScript.message(type, body)
      said += bytes
      switch Self.decoded(bytes) {
      case .relay(let answer): answers += answer.bytes
      case .relayTaken(let byteCount): taken = max(taken, byteCount)
      default: break loop
      }
    }
    pieces = pieces.dropFirst(count)
    let isOver = pieces.isEmpty
    do throws(TransportError) { try control.far.send(said) } catch { throw MigrationFailure(.internal, "\(error)") }
    if isOver { control.far.finishSending() }
    try source.awaitReserved(channel)
  }

  private static func decoded(_ bytes: [UInt8]) -> ControlMessage? {
    do throws(WireError) {
      let header = try ControlHeader(decoding: Array(bytes.prefix(ControlHeader.byteCount)))
      return try ControlMessage(decoding: Array(bytes.dropFirst(ControlHeader.byteCount)), header: header)
    } catch { return nil }
  }

  /// Something leaves: it is part of an iteration, or relayed.
  private func leave(byteCount: Int, iterations: UInt32, relaying relayed: Int) {
    source.window.note(taken: byteCount)
    let position = source.window.use.taken
    let last = left.last ?? (0, 0, 0)
    left.append((position, last.iteration + iterations, last.relayed + UInt64(relayed)))
    source.noteUnderWay(upTo: position, iteration: last.iteration + iterations, relaying: relayed)
  }

  /// The session hears a message.
  private func hear(_ bytes: [UInt8]) throws(MigrationFailure) {
    do throws(TransportError) { try control.far.send(bytes) } catch { throw MigrationFailure(.internal, "\(error)") }
    let message = try channel.receive()
    switch message {
    case .ack(let ack):
      confirmedIteration = min(max(confirmedIteration, ack.completedIteration), left.last?.iteration ?? 0)
    case .relayTaken(let byteCount): taken = max(taken, byteCount)
    default: break
    }
    source.events.post(.message(message))
    source.events.post(.controlEnded(Self.pause))
    do throws(MigrationFailure) {
      try source.converse(channel, Vigil(limit: .seconds(10)))
    } catch {
      // Behind an end of answers the hypervisor hears nothing more.
      guard error == Self.pause else { throw error }
    }
    if case .relay(let answer) = message { answers += answer.bytes }
    // What the session says to the other half is not looked at; unread it would fill the socket.
    if control.far.waitingByteCount > 0 { _ = try? control.far.receiveSome(into: &room) }
  }

  // MARK: What must be

  private func problem() -> String? {
    while confirmedCount < left.count, left[confirmedCount].iteration <= confirmedIteration,
      left[confirmedCount].relayed <= taken
    {
      confirmedCount += 1
    }
    let now = source.state.withLock { ($0.confirmedIteration, $0.iteration, $0.underWay.count) }
    guard now.0 == confirmedIteration, now.0 <= now.1 else { return "iterations are confirmed that were not" }
    guard source.stream.confirmedIteration.load(ordering: .relaxed) <= now.1 else {
      return "memory is given back before it was sent"
    }
    guard now.2 == left.count - confirmedCount else { return "what is under way is counted wrongly" }
    let position = confirmedCount == 0 ? 0 : left[confirmedCount - 1].position
    guard source.window.used == Int((left.last?.position ?? 0) - position) else {
      return "room is made for what is under way"
    }
    return nil
  }
}

/// Both halves of a pair, with what the other half says; which one is the script's word.
enum RelayDriver {
  static func run(_ input: [UInt8]) -> String? {
    let script = RelayScript(input)
    return script.options.contains(.source) ? DepartureDriver.run(script) : ArrivalDriver.run(script)
  }
}
