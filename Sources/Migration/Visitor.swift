// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Synchronization
import Transport
import Wire

/// Somebody who connected to a receiver and said something that a receiver can act on.
enum Visitor: Sendable {
  case source(ControlChannel, ControlMessage.Hello)
  case dataChannel(ControlChannel, ControlMessage.Attach)
  /// A PageFerry source that cannot be served, already told so.
  case refused(MigrationFailure)
  /// The listener itself broke.
  case listenerFailed(MigrationFailure)
}

/// Accepts connections and hears their first message, each on a thread of its own, so that a visitor who says nothing
/// keeps nobody waiting. Strangers (port scanners, browsers) are named in the log and dropped.
final class Reception: Sendable {
  /// How long a visitor may take over the first message.
  private static let firstMessageLimit = Duration.seconds(5)
  /// Visitors heard at once; more are dropped.
  private static let visitorCountMax = WireLimits.channelCountMax + 16

  private let listener: Listener
  private let stopped = Atomic<Bool>(false)
  private let present = Atomic<Int>(0)
  private let deliver: @Sendable (Visitor) -> Void
  private let warn: @Sendable (String) -> Void
  private let thread = Mutex<HostThread?>(nil)

  init(
    listener: Listener, warn: @escaping @Sendable (String) -> Void, deliver: @escaping @Sendable (Visitor) -> Void
  ) {
    self.listener = listener
    self.warn = warn
    self.deliver = deliver
  }

  func start() {
    thread.withLock { $0 = HostThread(name: "pf-accept") { [self] in accept() } }
  }

  func stop() {
    stopped.store(true, ordering: .relaxed)
    let running = thread.withLock { thread -> HostThread? in
      defer { thread = nil }
      return thread
    }
    running?.join()
  }

  private func accept() {
    while !stopped.load(ordering: .relaxed) {
      do throws(TransportError) {
        guard let connection = try listener.accept(within: .milliseconds(100)) else { continue }
        guard present.add(1, ordering: .relaxed).newValue <= Self.visitorCountMax else {
          present.subtract(1, ordering: .relaxed)
          warn("too many visitors at once: dropped \(connection.peer)")
          continue
        }
        let thread = HostThread(name: "pf-visitor") { [self] in
          hear(ControlChannel(connection))
          present.subtract(1, ordering: .relaxed)
        }
        thread.detach()
      } catch {
        deliver(.listenerFailed(MigrationFailure(.cannotListen, error.description)))
        return
      }
    }
  }

  private func hear(_ visitor: ControlChannel) {
    visitor.connection.setTimeout(Self.firstMessageLimit)
    do throws(MigrationFailure) {
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
