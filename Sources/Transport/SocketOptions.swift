// SPDX-License-Identifier: Apache-2.0
import CHostSystem
import SystemPackage

/// How sockets are set up.
public struct SocketOptions: Sendable, Equatable {
  /// SO_SNDBUF and SO_RCVBUF in bytes; 0 has them chosen by the way to the peer.
  ///
  /// The kernel's own tuning is right for real distances. Where the round trip is short, its buffers grow far past what
  /// the way can hold, and what is under way falls out of the cache: there the send buffer is 1 MiB, more than any link
  /// carries in such a time, and within this host 256 KiB (docs/PERFORMANCE.md).
  public var bufferByteCount: Int
  /// TCP congestion control by name; nil leaves the host's default.
  public var congestionControl: String?
  /// How long an idle peer is probed, and how long one may say nothing at all, before it counts as lost.
  public var deadPeerSeconds: Int

  /// The kernel's tuning, and 15 s of patience.
  public init(bufferByteCount: Int = 0, congestionControl: String? = nil, deadPeerSeconds: Int = 15) {
    self.bufferByteCount = bufferByteCount
    self.congestionControl = congestionControl
    self.deadPeerSeconds = deadPeerSeconds
  }

  /// The send buffer of a connection within this host.
  private static let localSendBufferByteCount = 256 << 10
  /// The send buffer of a connection with a short round trip, and what is short: 80 Gbit/s carry 1 MiB in 100 µs.
  private static let nearSendBufferByteCount = 1 << 20
  private static let nearMicroseconds: UInt32 = 100
  /// What may wait in a socket, not yet sent: a pipeline's reaction time, not its throughput, grows with more.
  private static let unsentByteCountMax: CInt = 512 << 10

  /// Applies the options to a socket, before it listens or once it is connected.
  /// - Parameter isLocal: the peer is on this host.
  func apply(to descriptor: CInt, tcp: Bool, isLocal: Bool = false) throws(TransportError) {
    if bufferByteCount > 0 {
      let bytes = CInt(clamping: bufferByteCount)
      try Self.check(hs_socket_set_buffers(descriptor, bytes, bytes), "socket buffers")
    } else if isLocal {
      try Self.check(
        hs_socket_set_buffers(descriptor, CInt(Self.localSendBufferByteCount), 0), "the send buffer")
    } else if tcp, Self.isNear(descriptor) {
      try Self.check(
        hs_socket_set_buffers(descriptor, CInt(Self.nearSendBufferByteCount), 0), "the send buffer")
    }
    guard tcp else { return }
    let interval = max(1, deadPeerSeconds / 5)
    try Self.check(
      // No TCP_USER_TIMEOUT: it also ends connections whose peer is alive but busy (a window that stays closed).
      hs_tcp_configure(descriptor, CInt(clamping: interval), CInt(clamping: interval), 4), "TCP options")
    try Self.check(hs_tcp_set_unsent_limit(descriptor, Self.unsentByteCountMax), "the limit of unsent bytes")
    if let congestionControl {
      try Self.check(
        unsafe hs_tcp_set_congestion(descriptor, congestionControl), "congestion control '\(congestionControl)'")
    }
  }

  /// Whether a connected socket's round trip is short; a fresh one's is that of its handshake.
  private static func isNear(_ descriptor: CInt) -> Bool {
    var path = hs_tcp_path()
    guard unsafe hs_tcp_get_path(descriptor, &path) == 0 else { return false }
    // A socket that is not connected has none.
    return (1...nearMicroseconds).contains(path.round_trip_us)
  }

  private static func check(_ result: CInt, _ name: String) throws(TransportError) {
    guard result == 0 else { throw .badOption(name: name, Errno(rawValue: -result)) }
  }
}
