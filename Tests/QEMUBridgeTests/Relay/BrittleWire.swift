// SPDX-License-Identifier: Apache-2.0
import Glibc
import HostSystem
import Synchronization

@testable import Transport

/// The network between the two halves of a pair: connections through it can be made to fail, all at once.
final class BrittleWire: Sendable {
  enum Fault: Sendable, CaseIterable {
    /// Both ends see the end of the stream, as when a tunnel ends.
    case closed
    /// Both ends see a reset.
    case reset
    /// Nothing arrives any more, and nobody is told: in both directions, or in one.
    case silent
    case silentToDestination
    case silentToSource
  }

  private struct Stretch {
    let near: Connection
    let far: Connection
  }

  private struct State {
    var fault: Fault?
    var stretches: [Stretch] = []
    var threads: [HostThread] = []
    var isOver = false
  }

  private let listener: Listener
  private let onward: Endpoint
  private let state = Mutex(State())

  /// Where the source's half connects.
  var endpoint: Endpoint { listener.endpoint }

  init(to onward: Endpoint) throws {
    self.onward = onward
    listener = try Listener(endpoint: .tcp(host: "127.0.0.1", port: 0), options: .init())
    let reception = HostThread(name: "test-wire") { [self] in
      while !state.withLock({ $0.isOver }) {
        guard let near = try? listener.accept(within: .milliseconds(20)) else { continue }
        guard let far = try? Dialer(endpoint: onward, options: .init()).connect(within: .seconds(5)) else {
          near.shutDown()
          continue
        }
        let threads = [
          HostThread(name: "test-wire-out") { self.forward(near, far, losing: [.silent, .silentToDestination]) },
          HostThread(name: "test-wire-in") { self.forward(far, near, losing: [.silent, .silentToSource]) },
        ]
        state.withLock { state in
          state.stretches.append(Stretch(near: near, far: far))
          state.threads += threads
        }
      }
    }
    state.withLock { $0.threads.append(reception) }
  }

  /// From now on.
  func fail(_ fault: Fault) {
    let stretches = state.withLock { state in
      state.fault = fault
      return state.stretches
    }
    if fault == .closed || fault == .reset {
      for stretch in stretches { for end in [stretch.near, stretch.far] { Self.end(end, resetting: fault == .reset) } }
    }
  }

  /// Stops it, and waits for its threads.
  func end() {
    let (stretches, threads) = state.withLock { state in
      state.isOver = true
      return (state.stretches, state.threads)
    }
    for stretch in stretches {
      stretch.near.shutDown()
      stretch.far.shutDown()
    }
    for thread in threads { thread.join() }
  }

  /// Passes on what comes; what a silent wire loses, it takes nevertheless.
  private func forward(_ from: Connection, _ to: Connection, losing: Set<Fault>) {
    var room = [UInt8](repeating: 0, count: 64 << 10)
    while let got = try? from.receiveSome(into: &room) {
      let isLost = state.withLock { $0.fault.map(losing.contains) ?? false }
      if isLost {
        if got == 0 { return }
        continue
      }
      guard got > 0 else { return to.finishSending() }
      guard (try? to.send(Array(room[..<got]))) != nil else { break }
    }
    if state.withLock({ $0.fault.map(losing.contains) ?? false }) { return }
    to.shutDown()
  }

  private static func end(_ connection: Connection, resetting: Bool) {
    if resetting {
      // An address of no family disconnects a TCP socket, and the peer gets a reset.
      var nowhere = sockaddr()
      nowhere.sa_family = sa_family_t(AF_UNSPEC)
      _ = unsafe connect(connection.descriptor, &nowhere, socklen_t(MemoryLayout<sockaddr>.size))
    }
    connection.shutDown()
  }
}
