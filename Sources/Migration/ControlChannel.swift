// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Synchronization
import Transport
import Wire

/// Control messages over a connection. Any thread may send; one receives.
final class ControlChannel: Sendable {
  let connection: Connection
  private let sending = Mutex(())

  init(_ connection: Connection) { self.connection = connection }

  var peer: String { connection.peer }

  func send(_ message: ControlMessage) throws(MigrationFailure) {
    let bytes = message.encoded()
    let failure = sending.withLock { _ -> TransportError? in
      do throws(TransportError) { try connection.send(bytes) } catch { return error }
      return nil
    }
    if let failure { throw MigrationFailure(failure, with: peer) }
  }

  /// Sends somebody away who cannot be served, with the reason.
  func refuse(_ reason: String) {
    try? send(.reject(.init(code: FailureCode.refused.rawValue, reason: reason)))
    connection.shutDown()
  }

  /// The next message. Lengths are checked before anything is allocated by them.
  func receive() throws(MigrationFailure) -> ControlMessage {
    let raw: [UInt8]
    let header: ControlHeader
    do throws(TransportError) { raw = try connection.receive(count: ControlHeader.byteCount) } catch {
      throw MigrationFailure(error, with: peer)
    }
    do throws(WireError) { header = try ControlHeader(decoding: raw) } catch {
      throw MigrationFailure(error, from: peer)
    }
    let body: [UInt8]
    do throws(TransportError) { body = try connection.receive(count: header.bodyByteCount) } catch {
      throw MigrationFailure(error, with: peer)
    }
    do throws(WireError) { return try ControlMessage(decoding: body, header: header) } catch {
      throw MigrationFailure(error, from: peer)
    }
  }

  /// Receives into `events` on a thread of its own until the connection ends, which is told last.
  func startReceiving(into events: Mailbox<SessionEvent>, vigil: Vigil) -> HostThread {
    HostThread(name: "pf-control") { [self] in
      while true {
        do throws(MigrationFailure) {
          let message = try receive()
          vigil.hear()
          events.post(.message(message))
        } catch {
          events.post(.controlEnded(error))
          return
        }
      }
    }
  }
}
