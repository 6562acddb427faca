// SPDX-License-Identifier: Apache-2.0
import Glibc
import HostSystem
import Synchronization
import TestSupport
import Transport

/// Stands between a source and a destination, over real sockets, and breaks what it is told to break.
final class FaultyRelay: Sendable {
  /// What goes wrong, counted in bytes that flow from the source to the destination.
  enum Fault: Sendable {
    case none
    /// Every connection is cut once connection `connection` (0 is control) has carried `bytes`.
    case cut(connection: Int, afterBytes: Int)
    /// One bit is flipped on connection `connection` at byte `at`.
    case flip(connection: Int, at: Int)
    /// Every connection is cut when the destination has sent `count` messages of this control type.
    case cutAfterReply(type: UInt16)
    /// Every connection is cut when the source sends a control message of this type, which does not arrive.
    case cutAt(type: UInt16)
    /// Nothing is passed on any more from the source's first control message of this type on.
    case stallAt(type: UInt16)
    /// Nothing is passed on any more once connection `connection` has carried `bytes`; connections stay open.
    case stall(connection: Int, afterBytes: Int)
    /// Connections from this one on are dropped at once.
    case drop(from: Int)
  }

  private let listener: Listener
  private let target: Endpoint
  private let fault: Fault
  private let stopped = Atomic<Bool>(false)
  private let connections = Mutex<[Connection]>([])
  private let threads = Mutex<[HostThread]>([])

  var endpoint: Endpoint { listener.endpoint }

  init(to target: Endpoint, fault: Fault) throws {
    listener = try Listener(endpoint: .tcp(host: "127.0.0.1", port: 0), options: .init())
    self.target = target
    self.fault = fault
    start { [self] in accept() }
  }

  private func start(_ body: @escaping @Sendable () -> Void) {
    let thread = HostThread(name: "relay", body)
    threads.withLock { $0.append(thread) }
  }

  private func accept() {
    var number = 0
    while !stopped.load(ordering: .relaxed) {
      guard let near = try? listener.accept(within: .milliseconds(20)) else { continue }
      if case .drop(let first) = fault, number >= first {
        near.shutDown()
        continue
      }
      guard let far = try? Dialer(endpoint: target, options: .init()).connect(within: .seconds(2)) else {
        near.shutDown()
        continue
      }
      connections.withLock { $0 += [near, far] }
      let connection = number
      number += 1
      start { [self] in forward(near, far, connection: connection) }
      start { [self] in answer(far, near, connection: connection) }
    }
  }

  /// Source to destination, message by message or frame by frame, with the fault.
  private func forward(_ from: Connection, _ to: Connection, connection: Int) {
    var carried = 0
    while var chunk = try? next(from, isFrame: connection > 0 && carried > 0) {
      let end = carried + chunk.count
      let isControl = connection == 0 || carried == 0
      switch fault {
      case .cut(connection, let limit) where end > limit:
        try? to.send(Array(chunk.prefix(max(0, limit - carried))))
        cutAll()
        return
      case .cutAt(let type) where isControl && UInt16(chunk[4]) == type:
        cutAll()
        return
      case .stall(connection, let limit) where end > limit:
        stall()
        return
      case .stallAt(let type) where isControl && UInt16(chunk[4]) == type:
        stall()
        return
      case .flip(connection, let at) where (carried..<end).contains(at): chunk[at - carried] ^= 1
      default: break
      }
      carried = end
      guard (try? to.send(chunk)) != nil else { break }
    }
    to.finishSending()
  }

  /// A whole control message, or a whole frame: a data channel's first message is a control message.
  private func next(_ from: Connection, isFrame: Bool) throws -> [UInt8] {
    let header = try from.receive(count: isFrame ? 64 : 16)
    func number(_ offset: Int) -> Int { (0..<4).reduce(0) { $0 | Int(header[offset + $1]) << (8 * $1) } }
    return header + (try from.receive(count: isFrame ? number(20) * 32 + number(24) + number(28) : number(8)))
  }

  /// Destination to source: whole control messages on the control connection.
  private func answer(_ from: Connection, _ to: Connection, connection: Int) {
    while let message = try? next(from, isFrame: false) {
      if case .cutAfterReply(let type) = fault, UInt16(message[4]) == type {
        cutAll()
        return
      }
      guard (try? to.send(message)) != nil else { break }
    }
    to.finishSending()
  }

  private func stall() {
    while !stopped.load(ordering: .relaxed) { HostClock.sleep(nanoseconds: 10_000_000) }
  }

  private func cutAll() { connections.withLock { all in for connection in all { connection.shutDown() } } }

  func stop() {
    stopped.store(true, ordering: .relaxed)
    cutAll()
    // The accepting thread may still add some: it ends within its poll.
    while let thread = threads.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) {
      thread.join()
      cutAll()
    }
  }
}
