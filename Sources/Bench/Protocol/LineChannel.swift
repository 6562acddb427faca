// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Transport

/// The control connection of a benchmark: messages, a line each. Belongs to one thread; ``Connection/shutDown()`` of its
/// connection, from any other, ends what it waits for.
final class LineChannel {
  let connection: Connection
  private var pending: [UInt8] = []
  private var chunk = [UInt8](repeating: 0, count: 4096)

  init(_ connection: Connection) { self.connection = connection }

  var peer: String { connection.peer }

  /// - Parameter limit: how long the peer may leave it standing.
  func send(_ message: BenchMessage, within limit: Duration = .seconds(10)) throws(BenchError) {
    connection.setTimeouts(receive: nil, send: limit)
    do throws(TransportError) { try connection.send(message.line) } catch { throw .transport(error) }
  }

  /// The next message.
  /// - Parameter limit: for the whole line: a peer that says a byte now and then does not last longer.
  func next(within limit: Duration) throws(BenchError) -> BenchMessage {
    let deadline = HostClock.now() + limit.nanoseconds
    var looked = 0
    while true {
      if let end = pending[looked...].firstIndex(of: UInt8(ascii: "\n")) {
        let line = Array(pending[..<end])
        pending.removeFirst(end + 1)
        return try BenchMessage(line: line).printable()
      }
      // Strangers are told by their first byte, whether they end their lines or not.
      guard pending.first ?? UInt8(ascii: "{") == UInt8(ascii: "{") else { throw .foreign }
      guard pending.count <= Limits.lineByteCount else { throw .lineTooLong(allowed: Limits.lineByteCount) }
      looked = pending.count
      try receive(until: deadline)
    }
  }

  private func receive(until deadline: UInt64) throws(BenchError) {
    let now = HostClock.now()
    guard now < deadline else { throw .transport(.timedOut) }
    connection.setTimeouts(receive: .nanoseconds(Int64(clamping: max(1_000_000, deadline - now))), send: nil)
    var got = 0
    let failure = unsafe chunk.withUnsafeMutableBytes { bytes -> TransportError? in
      // SAFETY: the array's own bytes, for as long as the call takes.
      var span = unsafe MutableRawSpan(_unsafeBytes: bytes)
      do throws(TransportError) { got = try connection.receiveSome(into: &span) } catch { return error }
      return nil
    }
    if let failure { throw .transport(failure) }
    guard got > 0 else { throw .closed }
    pending += chunk.prefix(got)
  }

  /// The next message, which has to be what `pick` takes.
  func expect<Content>(
    _ expected: String, within limit: Duration, _ pick: (BenchMessage) -> Content?
  ) throws(BenchError) -> Content {
    let message = try next(within: limit)
    if let content = pick(message) { return content }
    if case .refused(let refusal) = message { throw .refused(code: refusal.code, reason: refusal.reason) }
    throw .unexpected(found: message.name, expected: expected)
  }
}
