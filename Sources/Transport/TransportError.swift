// SPDX-License-Identifier: Apache-2.0
public import SystemPackage

/// Why a connection could not be made, or ended.
public enum TransportError: Error, Equatable, CustomStringConvertible {
  case badEndpoint(text: String, reason: String)
  case cannotResolve(host: String, reason: String)
  case cannotListen(Endpoint, Errno)
  case cannotConnect(Endpoint, Errno, seconds: Int)
  case badOption(name: String, Errno)
  /// The peer closed or reset the connection.
  case closedByPeer
  /// Nothing came, or nothing was acknowledged, for too long.
  case timedOut
  /// This side shut the connection down.
  case stopped
  case failed(Errno)

  public var description: String {
    switch self {
    case .badEndpoint(let text, let reason): "'\(text)' is not an address: \(reason)"
    case .cannotResolve(let host, let reason): "cannot resolve '\(host)': \(reason)"
    case .cannotListen(let endpoint, .addressInUse): "cannot listen on \(endpoint): the address is in use"
    case .cannotListen(let endpoint, let errno): "cannot listen on \(endpoint): \(errno)"
    case .cannotConnect(let endpoint, let errno, let seconds):
      "nobody answers at \(endpoint): \(errno); gave up after \(seconds) s (is the receiver running?)"
    case .badOption(let name, let errno): "cannot set \(name): \(errno)"
    case .closedByPeer: "the peer closed the connection"
    case .timedOut: "the peer stopped answering"
    case .stopped: "the connection was shut down"
    case .failed(let errno): "connection failed: \(errno)"
    }
  }

  /// The error of a socket call.
  init(_ errno: Errno) {
    switch errno {
    case .brokenPipe, .connectionReset, .connectionAbort: self = .closedByPeer
    // EAGAIN is how SO_RCVTIMEO and SO_SNDTIMEO report that time ran out.
    case .timedOut, .resourceTemporarilyUnavailable: self = .timedOut
    default: self = .failed(errno)
    }
  }
}
