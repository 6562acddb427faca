// SPDX-License-Identifier: Apache-2.0
import CHostSystem
import Glibc
import HostSystem
import Synchronization
import SystemPackage

/// One stream connection: a channel's socket.
///
/// One thread may send and another receive at the same time. ``shutDown()`` may be called from any thread and makes
/// both return ``TransportError/stopped``.
public final class Connection: Sendable {
  let descriptor: CInt
  let stopped = Atomic<Bool>(false)
  private let sent = Atomic<UInt64>(0)
  let received = Atomic<UInt64>(0)
  /// The other end, for people.
  public let peer: String
  /// Whether the other end is known to be on this host, by its address.
  public let isLocal: Bool

  /// Bytes that the socket has taken.
  public var sentByteCount: UInt64 { sent.load(ordering: .relaxed) }
  /// Bytes that the socket has given.
  public var receivedByteCount: UInt64 { received.load(ordering: .relaxed) }

  /// Takes over a connected, blocking socket.
  init(descriptor: CInt, peer: String, isLocal: Bool = false) {
    self.descriptor = descriptor
    self.peer = peer
    self.isLocal = isLocal
  }

  deinit { close(descriptor) }

  /// How long a channel has had data on its way, in nanoseconds since it was made; of a TCP connection on Linux 4.10.
  public struct BusyTime: Sendable {
    /// Data was sent and not acknowledged, or waited to be sent.
    public var total: UInt64
    /// Of that, the receiver had no room for more: not the link was the limit, but who reads from it.
    public var receiverLimited: UInt64
  }

  /// What the kernel says now, in steps of some milliseconds; nil if it does not.
  public var busyTime: BusyTime? {
    var busy: UInt64 = 0
    var limited: UInt64 = 0
    guard unsafe hs_tcp_busy_time(descriptor, &busy, &limited) == 0 else { return nil }
    return BusyTime(total: busy * 1000, receiverLimited: limited * 1000)
  }

  /// Ends both directions, now.
  public func shutDown() {
    stopped.store(true, ordering: .relaxed)
    _ = shutdown(descriptor, CInt(SHUT_RDWR))
  }

  /// Says that nothing more will be sent; what was sent still arrives.
  public func finishSending() { _ = shutdown(descriptor, CInt(SHUT_WR)) }

  /// Ends what waits for the peer to say something; to the peer something can still be said.
  public func stopReceiving() { _ = shutdown(descriptor, CInt(SHUT_RD)) }

  /// Limits how long a single send or receive may wait; nil for no limit.
  public func setTimeout(_ limit: Duration?) { setTimeouts(receive: limit, send: limit) }

  /// The same, apart.
  public func setTimeouts(receive: Duration?, send: Duration?) {
    _ = hs_socket_set_timeouts(
      descriptor, Int64(clamping: receive?.nanoseconds ?? 0), Int64(clamping: send?.nanoseconds ?? 0))
  }

  /// Sends all of `bytes`.
  /// - Parameter giveUp: asked each time that the send timeout passes without progress.
  public func send(_ bytes: [UInt8], giveUp: () -> Bool = { true }) throws(TransportError) {
    let vector = IOVector()
    let failure = unsafe bytes.withUnsafeBytes { raw -> TransportError? in
      unsafe vector.append(raw)
      do throws(TransportError) { try send(vector, giveUp: giveUp) } catch { return error }
      return nil
    }
    if let failure { throw failure }
  }

  /// Sends every part of `vector`, and empties it.
  /// - Parameters:
  ///   - byteCount: instead of all, the next so many bytes; the vector is emptied when nothing remains.
  ///   - zeroCopy: of this connection; sends lasting parts without a copy, where that is worth it.
  public func send(
    _ vector: IOVector, byteCount: Int = .max, zeroCopy: ZeroCopy? = nil, giveUp: () -> Bool = { true }
  ) throws(TransportError) {
    // A piece of a vector goes with the copy: who sends so little at a time has a slow link.
    let end = vector.remainingByteCount - min(vector.remainingByteCount, byteCount)
    let zeroCopy = end == 0 ? zeroCopy : nil
    while vector.remainingByteCount > end {
      let taken =
        zeroCopy?.transmit(vector, waits: true)
        ?? vector.transmit(on: descriptor, byteCountMax: vector.remainingByteCount - end)
      if taken < 0 {
        let failure = Errno(rawValue: CInt(-taken))
        if failure == .interrupted { continue }
        if failure == .wouldBlock, !stopped.load(ordering: .relaxed), !giveUp() { continue }
        throw stopped.load(ordering: .relaxed) ? .stopped : TransportError(failure)
      }
      sent.add(UInt64(taken), ordering: .relaxed)
      vector.consume(taken)
    }
    if vector.remainingByteCount == 0 { vector.removeAll() }
  }

  /// Sends as much of `vector` as there is room for now.
  /// - Returns: whether that was all; then the vector is empty.
  public func sendAtOnce(_ vector: IOVector, zeroCopy: ZeroCopy? = nil) throws(TransportError) -> Bool {
    while vector.remainingByteCount > 0 {
      let taken = zeroCopy?.transmit(vector, waits: false) ?? vector.transmit(on: descriptor, waits: false)
      if taken < 0 {
        let failure = Errno(rawValue: CInt(-taken))
        if failure == .interrupted { continue }
        if failure == .wouldBlock { return false }
        throw stopped.load(ordering: .relaxed) ? .stopped : TransportError(failure)
      }
      sent.add(UInt64(taken), ordering: .relaxed)
      vector.consume(taken)
    }
    vector.removeAll()
    return true
  }

  /// Bytes that have arrived and were not received yet; 0 if the kernel does not say.
  public var waitingByteCount: Int { max(0, Int(hs_socket_waiting_bytes(descriptor))) }

  /// Bytes that were sent and the peer has not read (of a Unix socket) or acknowledged (of TCP); nil if the kernel does not
  /// say.
  public var unsentByteCount: Int? {
    let count = hs_socket_unsent_bytes(descriptor)
    return count >= 0 ? Int(count) : nil
  }

  /// The process at the other end of a Unix socket: the one that connected, or that listened.
  public var peerProcess: Int32? {
    var process: Int32 = 0
    return unsafe hs_socket_peer_process(descriptor, &process) == 0 ? process : nil
  }

  /// Receives what there is into an array, which keeps its size; see ``receiveSome(into:)-2``.
  public func receiveSome(into room: inout [UInt8], atMost count: Int = .max) throws(TransportError) -> Int {
    let result = unsafe room.withUnsafeMutableBytes { room -> Result<Int, TransportError> in
      let room = unsafe UnsafeMutableRawBufferPointer(rebasing: room[..<min(room.count, count)])
      do throws(TransportError) { return .success(try unsafe receiveSome(into: room)) } catch { return .failure(error) }
    }
    return try result.get()
  }

  /// Fills `bytes`.
  /// - Throws: ``TransportError/closedByPeer`` if the stream ends first.
  public func receive(into bytes: inout MutableRawSpan) throws(TransportError) {
    var done = 0
    while done < bytes.byteCount {
      // SAFETY: the slice lies inside the span, which is exclusively ours.
      let got = unsafe bytes.withUnsafeMutableBytes { whole -> Int in
        let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: whole[done...])
        return unsafe recv(descriptor, rest.baseAddress, rest.count, CInt(truncatingIfNeeded: MSG_WAITALL))
      }
      if got > 0 {
        received.add(UInt64(got), ordering: .relaxed)
        done += got
        continue
      }
      let failure = Errno(rawValue: errno)
      if got < 0, failure == .interrupted { continue }
      if stopped.load(ordering: .relaxed) { throw .stopped }
      throw got == 0 ? .closedByPeer : TransportError(failure)
    }
  }

  /// Looks at what is to be received next, and leaves it there.
  /// - Returns: bytes written to the start of `room`; 0 at the end of the stream; nil if nothing came within the receive
  ///   timeout.
  public func peek(into room: inout [UInt8]) throws(TransportError) -> Int? {
    while true {
      let got = unsafe recv(descriptor, &room, room.count, CInt(truncatingIfNeeded: MSG_PEEK))
      if got >= 0 { return got }
      let failure = Errno(rawValue: errno)
      if failure == .interrupted { continue }
      if failure == .wouldBlock, !stopped.load(ordering: .relaxed) { return nil }
      throw stopped.load(ordering: .relaxed) ? .stopped : TransportError(failure)
    }
  }

  /// Receives what there is, and waits until there is something.
  /// - Returns: bytes written to the start of `room`; 0 at the end of the stream.
  public func receiveSome(into room: UnsafeMutableRawBufferPointer) throws(TransportError) -> Int {
    while true {
      let got = unsafe recv(descriptor, room.baseAddress, room.count, 0)
      if got >= 0 {
        received.add(UInt64(got), ordering: .relaxed)
        return got
      }
      let failure = Errno(rawValue: errno)
      if failure == .interrupted { continue }
      throw stopped.load(ordering: .relaxed) ? .stopped : TransportError(failure)
    }
  }

  /// Fills every part of `vector`, and empties it.
  /// - Throws: ``TransportError/closedByPeer`` if the stream ends first.
  public func receive(into vector: IOVector) throws(TransportError) {
    while vector.remainingByteCount > 0 {
      let got = vector.fill(from: descriptor)
      if got > 0 {
        received.add(UInt64(got), ordering: .relaxed)
        vector.consume(got)
        continue
      }
      let failure = Errno(rawValue: CInt(-got))
      if failure == .interrupted { continue }
      if stopped.load(ordering: .relaxed) { throw .stopped }
      throw got == 0 ? .closedByPeer : TransportError(failure)
    }
    vector.removeAll()
  }

  /// Receives exactly `count` bytes into a new array: control messages, bounded by the caller.
  public func receive(count: Int) throws(TransportError) -> [UInt8] {
    guard count > 0 else { return [] }
    var bytes = [UInt8](repeating: 0, count: count)
    let failure = unsafe bytes.withUnsafeMutableBytes { raw -> TransportError? in
      var span = unsafe MutableRawSpan(_unsafeBytes: raw)
      do throws(TransportError) { try receive(into: &span) } catch { return error }
      return nil
    }
    if let failure { throw failure }
    return bytes
  }
}
