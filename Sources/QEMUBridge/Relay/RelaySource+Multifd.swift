// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Logging
import Migration
import Transport

// How a connection begins: alone, or beside others of the same hypervisor.
extension RelaySource {
  /// Reads what comes before the first page.
  func open(_ role: Role) throws(MigrationFailure) -> DepartingStream.Opening {
    switch role {
    case .other: return stream.openVerbatim(hypervisor)
    case .stream: return try openStream()
    case .multifd:
      guard case .pages = try look() else { return stream.openVerbatim(hypervisor) }
      siblings.gate.watch { [weak self] in self?.abort($0) }
      var head = [UInt8](repeating: 0, count: MultifdGlance.headByteCount)
      do throws(TransportError) { _ = try hypervisor.peek(into: &head) } catch { throw lost(error) }
      return stream.open(DepartingChannel(hypervisor: hypervisor, gate: siblings.gate), head: head)
    }
  }

  /// The stream's beginning; and what becomes of the other connections, which are there by then.
  private func openStream() throws(MigrationFailure) -> DepartingStream.Opening {
    var counted: Int?
    var opening = try stream.open(hypervisor) {
      let others = siblings.countOthers()
      counted = others
      return others > 0
    }
    let others = counted ?? siblings.countOthers()
    guard others > 0 else { return opening }
    var refusal: MultifdGate.Way?
    // Of a stream that cannot be taken apart somebody was told already.
    if opening.blocks == nil { refusal = .verbatim(nil) }
    if opening.advisesPostcopy { refusal = .verbatim("multifd goes with postcopy") }
    switch siblings.gate.decide(channels: others, refusal: refusal) {
    case .pages:
      siblings.gate.watch { [weak self] in self?.abort($0) }
      stream.accompany(siblings.gate, &opening)
    case .verbatim(let reason):
      if let reason { logger.warning("\(reason): all of the hypervisor's connections are passed on as they are") }
      stream.passOver(&opening)
    }
    return opening
  }

  /// Looks at a channel's first bytes, and leaves them where they are, until it is known how channels are carried.
  private func look() throws(MigrationFailure) -> MultifdGate.Way {
    let gate = siblings.gate
    let number = try gate.enrol()
    var room = [UInt8](repeating: 0, count: MultifdGlance.byteCount)
    hypervisor.setTimeouts(receive: .milliseconds(50), send: nil)
    defer { hypervisor.setTimeouts(receive: nil, send: nil) }
    while gate.way == nil {
      let got: Int?
      do throws(TransportError) { got = try hypervisor.peek(into: &room) } catch { throw lost(error) }
      guard got != 0 else { throw MigrationFailure(.hypervisorFailed, "the hypervisor has closed a multifd channel") }
      let glance = MultifdGlance(room.prefix(got ?? 0))
      gate.note(glance, of: number)
      switch glance {
      case .plain, .opaque: return try gate.awaitWay()
      case .coming, .idle: break
      }
      if siblings.isOver { throw MigrationFailure(.hypervisorFailed, "a multifd channel came without its stream") }
      HostClock.sleep(nanoseconds: 2_000_000)
    }
    return try gate.awaitWay()
  }

  private func lost(_ error: TransportError) -> MigrationFailure {
    events.takeCancel().map { MigrationFailure(.cancelled, $0) }
      ?? MigrationFailure(.hypervisorFailed, "the hypervisor's connection: \(error)")
  }
}
