// SPDX-License-Identifier: Apache-2.0
package import HostSystem
import Synchronization
package import Transport
package import Wire

/// Control messages over a connection. Any thread may send; one receives.
package final class ControlChannel: Sendable {
  package let connection: Connection
  private let sending = Mutex(())
  private let patience = Mutex(Patience())

  /// How long a send waits for room: a peer that does not read must not hold a session, with its guest paused, for ever.
  private struct Patience {
    var limit: Duration?
    var isCancelled: @Sendable () -> Bool = { false }
  }

  /// How often a send that makes no progress looks whether it should go on.
  private static let sendInterval = Duration.milliseconds(200)

  package init(_ connection: Connection) { self.connection = connection }

  package var peer: String { connection.peer }

  /// Ends the setup, in which each answer has its own time: from now on there is no limit to receiving, and sends give up
  /// after `limit`, or when they are told to.
  package func establish(sendLimit limit: Duration, isCancelled: @escaping @Sendable () -> Bool = { false }) {
    connection.setTimeouts(receive: nil, send: Self.sendInterval)
    patience.withLock { $0 = Patience(limit: limit, isCancelled: isCancelled) }
  }

  /// - Parameter limit: instead of what was established.
  package func send(_ message: ControlMessage, within limit: Duration? = nil) throws(MigrationFailure) {
    let bytes = message.encoded()
    let patience = patience.withLock { $0 }
    let deadline = (limit ?? patience.limit).map { HostClock.now() + $0.nanoseconds } ?? 0
    let failure = sending.withLock { _ -> TransportError? in
      do throws(TransportError) {
        try connection.send(bytes, giveUp: { HostClock.now() >= deadline || patience.isCancelled() })
      } catch { return error }
      return nil
    }
    if let failure { throw MigrationFailure(failure, with: peer) }
  }

  /// Sends somebody away who cannot be served, with the reason.
  package func refuse(_ reason: String) {
    try? send(.reject(.init(code: FailureCode.refused.rawValue, reason: reason)))
    connection.shutDown()
  }

  /// The next message. Lengths are checked before anything is allocated by them.
  package func receive() throws(MigrationFailure) -> ControlMessage {
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

  /// Messages that wait to be handled before the next is received.
  private static let waitingMessageCountMax = 1000

  /// Receives into `events` on a thread of its own until the connection ends, which is told last.
  package func startReceiving(into events: Mailbox<SessionEvent>, vigil: Vigil) -> HostThread {
    HostThread(name: "pf-control") { [self] in
      while true {
        do throws(MigrationFailure) {
          let message = try receive()
          vigil.hear()
          // A peer that talks faster than it is heard waits, in its own socket.
          events.post(.message(message), roomFor: Self.waitingMessageCountMax)
        } catch {
          events.post(.controlEnded(error))
          return
        }
      }
    }
  }
}
