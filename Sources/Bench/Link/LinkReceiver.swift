// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Synchronization
import Transport

/// The server's half of a link test: takes the streams, and counts what they bring.
final class LinkReceiver: Sendable {
  private static let bufferByteCount = 256 << 10
  /// How long a connection may take to say its token.
  private static let tokenLimit = Duration.seconds(1)
  /// Strangers that are looked at before it is given up.
  private static let strangersMax = 16

  private let connections: [Connection]
  private let threads = Mutex<[HostThread]>([])

  /// Waits until `count` streams have connected and said the token.
  static func gather(
    _ count: Int, on listener: Listener, token: String, isCancelled: () -> Bool
  ) throws(BenchError) -> LinkReceiver {
    var taken: [Connection] = []
    var strangers = 0
    let deadline = HostClock.now() + 10_000_000_000
    while taken.count < count {
      guard HostClock.now() < deadline, strangers < strangersMax else { throw .transport(.timedOut) }
      if isCancelled() { throw .transport(.stopped) }
      let accepted: Connection?
      do throws(TransportError) { accepted = try listener.accept(within: .milliseconds(100)) } catch {
        throw .transport(error)
      }
      guard let connection = accepted else { continue }
      if says(connection, token) { taken.append(connection) } else { strangers += 1 }
    }
    return LinkReceiver(taken)
  }

  private init(_ connections: [Connection]) { self.connections = connections }

  private static func says(_ connection: Connection, _ token: String) -> Bool {
    connection.setTimeout(tokenLimit)
    // A byte now and then is not silence, but lasts as long.
    let alarm = Alarm(after: tokenLimit.nanoseconds) { connection.shutDown() }
    defer { alarm.stop() }
    let said = try? connection.receive(count: StreamToken.byteCount)
    return said == Array(token.utf8)
  }

  private var byteCount: UInt64 { connections.reduce(0) { $0 + $1.receivedByteCount } }

  /// Starts to receive: from here on nothing is lost.
  func start(seconds: Double) {
    // A stream that goes on for longer is not the one that was agreed on.
    let deadline = HostClock.now() + UInt64((seconds + 10) * 1e9)
    threads.withLock { threads in
      threads = connections.indices.map { index in
        HostThread(name: "bench-recv-\(index + 1)") { [self] in receive(index, until: deadline) }
      }
    }
  }

  private func receive(_ index: Int, until deadline: UInt64) {
    let connection = connections[index]
    connection.setTimeout(.seconds(3))
    guard var buffer = try? PageBuffer(byteCount: Self.bufferByteCount) else { return }
    do throws(TransportError) {
      while HostClock.now() < deadline {
        try buffer.withMutableBytes(0..<Self.bufferByteCount) { (bytes) throws(TransportError) in
          try connection.receive(into: &bytes)
        }
      }
    } catch {}
    connection.shutDown()
  }

  /// Waits for the end of all streams.
  func finish(seconds: Double) -> LinkReceipt {
    let began = HostClock.now()
    while byteCount == UInt64(connections.count * StreamToken.byteCount), HostClock.now() - began < 1_000_000_000 {
      HostClock.sleep(nanoseconds: 1_000_000)
    }
    HostClock.sleep(nanoseconds: UInt64(seconds / 4 * 1e9))
    let (before, since) = (byteCount, HostClock.now())
    let running = threads.withLock { threads in
      defer { threads = [] }
      return threads
    }
    // One that trickles on is not looked at between two full buffers.
    let alarm = Alarm(after: UInt64((seconds + 10) * 1e9)) { [self] in stop() }
    for thread in running { thread.join() }
    alarm.stop()
    return LinkReceipt(bytes: byteCount - before, seconds: Double(HostClock.now() - since) / 1e9)
  }

  /// Ends all streams: ``finish(seconds:)`` returns then.
  func stop() { for connection in connections { connection.shutDown() } }
}
