// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Synchronization
import SystemPackage
import Transport

/// The client's half of a link test: threads that send the same bytes again and again.
enum LinkSender {
  /// Small enough to stay in a core's cache, large enough that system calls do not count.
  static let bufferByteCount = 128 << 10

  /// Sends on all of `connections` until the time is up, then ends the streams.
  static func run(_ connections: [Connection], seconds: Double, streams: Int) throws(BenchError) -> LinkFigures {
    let started = HostClock.now()
    let cpu = ProcessUsage.current().cpuNanoseconds
    let deadline = started + UInt64(seconds * 1e9)
    let failure = Failure()
    let threads = connections.indices.map { index in
      HostThread(name: "bench-send-\(index + 1)") {
        do throws(TransportError) { try send(on: connections[index], until: deadline) } catch { failure.note(error) }
        connections[index].finishSending()
      }
    }
    for thread in threads { thread.join() }
    if let error = failure.error { throw .transport(error) }
    let elapsed = Double(HostClock.now() - started) / 1e9
    let paths = connections.compactMap { $0.path }
    return LinkFigures(
      streams: streams, bytesPerSecond: 0, segments: paths.reduce(0) { $0 + $1.segments },
      retransmitted: paths.reduce(0) { $0 + $1.retransmitted },
      roundTripLoaded: Double(paths.map { $0.roundTrip }.max() ?? 0) / 1e9,
      sourceCPU: Double(ProcessUsage.current().cpuNanoseconds - cpu) / 1e9 / max(elapsed, 1e-9))
  }

  private final class Failure: Sendable {
    private let first = Mutex<TransportError?>(nil)
    func note(_ error: TransportError) { first.withLock { $0 = $0 ?? error } }
    var error: TransportError? { first.withLock { $0 } }
  }

  /// The loop: two system calls a round, and nothing allocated.
  private static func send(on connection: Connection, until deadline: UInt64) throws(TransportError) {
    guard var buffer = try? PageBuffer(byteCount: bufferByteCount) else { throw .failed(.noMemory) }
    // Bytes that are not zero: nothing on the way is to find them easy.
    buffer.withMutableBytes(0..<bufferByteCount) { bytes in
      unsafe bytes.withUnsafeMutableBytes { raw in
        for index in raw.indices { unsafe raw[index] = UInt8(truncatingIfNeeded: index &* 167 &+ index >> 8) }
      }
    }
    connection.setTimeouts(receive: nil, send: .seconds(2))
    let vector = IOVector()
    while HostClock.now() < deadline {
      // SAFETY: the buffer outlives the call, which empties the vector.
      unsafe vector.append(UnsafeRawBufferPointer(start: buffer.unsafeBase, count: bufferByteCount))
      try connection.send(vector)
    }
  }
}
