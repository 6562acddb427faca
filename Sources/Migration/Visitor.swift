// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Synchronization
package import Transport
package import Wire

/// Somebody who connected to a receiver and said something that a receiver can act on.
package enum Visitor: Sendable {
  case source(ControlChannel, ControlMessage.Hello)
  case dataChannel(ControlChannel, ControlMessage.Attach)
  /// A PageFerry source that cannot be served, already told so.
  case refused(MigrationFailure)
  /// The listener itself broke.
  case listenerFailed(MigrationFailure)
}

/// Accepts connections and hears their first message, each on a thread of its own, so that a visitor who says nothing
/// keeps nobody waiting. Strangers (port scanners, browsers) are named in the log and dropped.
package final class Reception: Sendable {
  /// How long a visitor may take over the first message, all of it.
  private static let firstMessageLimit = Duration.seconds(5)
  /// Visitors heard at once; more are dropped.
  private static let visitorCountMax = WireLimits.channelCountMax + 16

  private let listener: Listener
  private let stopped = Atomic<Bool>(false)
  /// Those who are being heard, and since when.
  private let present = Mutex<[ObjectIdentifier: (connection: Connection, since: UInt64)]>([:])
  private let deliver: @Sendable (Visitor) -> Void
  private let warn: @Sendable (String) -> Void
  private let thread = Mutex<HostThread?>(nil)

  package init(
    listener: Listener, warn: @escaping @Sendable (String) -> Void, deliver: @escaping @Sendable (Visitor) -> Void
  ) {
    self.listener = listener
    self.warn = warn
    self.deliver = deliver
  }

  package func start() {
    thread.withLock { $0 = HostThread(name: "pf-accept") { [self] in accept() } }
  }

  package func stop() {
    stopped.store(true, ordering: .relaxed)
    let running = thread.withLock { thread -> HostThread? in
      defer { thread = nil }
      return thread
    }
    running?.join()
  }

  private func accept() {
    while !stopped.load(ordering: .relaxed) {
      showOutTheSlow()
      do throws(TransportError) {
        guard let connection = try listener.accept(within: .milliseconds(100)) else { continue }
        guard enter(connection) else {
          warn("too many visitors at once: dropped \(connection.peer)")
          continue
        }
        let thread = HostThread(name: "pf-visitor") { [self] in hear(ControlChannel(connection)) }
        thread.detach()
      } catch {
        deliver(.listenerFailed(MigrationFailure(.cannotListen, error.description)))
        return
      }
    }
  }

  private func enter(_ connection: Connection) -> Bool {
    present.withLock { present in
      guard present.count < Self.visitorCountMax else { return false }
      present[ObjectIdentifier(connection)] = (connection, HostClock.now())
      return true
    }
  }

  private func leave(_ connection: Connection) {
    present.withLock { _ = $0.removeValue(forKey: ObjectIdentifier(connection)) }
  }

  /// A byte now and then must not hold a place for ever.
  private func showOutTheSlow() {
    let now = HostClock.now()
    present.withLock { present in
      for visitor in present.values where now - min(now, visitor.since) > Self.firstMessageLimit.nanoseconds {
        visitor.connection.shutDown()
      }
    }
  }

  private func hear(_ visitor: ControlChannel) {
    do throws(MigrationFailure) {
      defer { leave(visitor.connection) }
      switch try visitor.receive() {
      case .hello(let hello): deliver(.source(visitor, hello))
      case .attach(let attach): deliver(.dataChannel(visitor, attach))
      default: warn("\(visitor.peer) began with a message that cannot come first; dropped")
      }
    } catch {
      switch error.code {
      case .versionMismatch:
        try? visitor.send(.reject(.init(code: error.code.rawValue, reason: error.reason)))
        deliver(.refused(error))
      case .notPageFerry, .peerLost: warn("dropped a stranger: \(error.reason)")
      default:
        try? visitor.send(.reject(.init(code: error.code.rawValue, reason: error.reason)))
        warn("dropped a visitor: \(error.reason)")
      }
    }
  }
}
