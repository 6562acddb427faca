// SPDX-License-Identifier: Apache-2.0
import Glibc
import HostSystem
import SystemPackage

/// Accepts connections at one endpoint.
public final class Listener: Sendable {
  private let descriptor: CInt
  private let options: SocketOptions
  private let unixPath: String?
  /// Where it listens: with the real port, if any port was asked for.
  public let endpoint: Endpoint
  /// Whether only this host can connect.
  public let isLocal: Bool

  /// Binds and listens.
  /// - Throws: ``TransportError/cannotListen(_:_:)``, among others if the address is in use.
  public init(endpoint: Endpoint, options: SocketOptions) throws(TransportError) {
    guard let address = try SocketAddress.resolve(endpoint, passive: true).first else {
      throw .cannotListen(endpoint, .addressNotAvailable)
    }
    let descriptor = socket(address.family, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { throw .cannotListen(endpoint, Errno(rawValue: errno)) }
    do throws(TransportError) {
      try Self.bind(descriptor, to: address, endpoint: endpoint, options: options)
    } catch {
      close(descriptor)
      throw error
    }
    self.descriptor = descriptor
    self.options = options
    if case .unix(let path) = endpoint { unixPath = path } else { unixPath = nil }
    self.endpoint = SocketAddress.name(of: descriptor, remote: false) ?? endpoint
    isLocal = address.isLocal
  }

  /// Takes over the one socket that systemd has opened for this process (sd_listen_fds(3)).
  /// - Throws: ``TransportError/badEndpoint(text:reason:)`` if there is none, or several.
  public init(inherited options: SocketOptions) throws(TransportError) {
    func variable(_ name: String) -> Int32? {
      guard let value = unsafe getenv(name) else { return nil }
      return unsafe Int32(String(cString: value))
    }
    let first: CInt = 3
    guard variable("LISTEN_PID") == getpid(), variable("LISTEN_FDS") == 1 else {
      throw .badEndpoint(text: "systemd", reason: "systemd has given this process no socket, or more than one")
    }
    var isListening: CInt = 0
    var size = socklen_t(MemoryLayout<CInt>.size)
    guard unsafe getsockopt(first, SOL_SOCKET, SO_ACCEPTCONN, &isListening, &size) == 0, isListening != 0 else {
      throw .badEndpoint(text: "systemd", reason: "what systemd has given is no socket that listens (Accept=no)")
    }
    _ = fcntl(first, F_SETFD, FD_CLOEXEC)
    descriptor = first
    self.options = options
    // The file is systemd's.
    unixPath = nil
    let named = SocketAddress.name(of: first, remote: false)
    endpoint = named ?? .unix(path: "systemd")
    if case .tcp(let host, _) = endpoint {
      isLocal = host == "127.0.0.1" || host == "::1"
    } else {
      isLocal = true
    }
  }

  deinit {
    close(descriptor)
    if let unixPath { _ = unsafe unlink(unixPath) }
  }

  private static func bind(
    _ descriptor: CInt, to address: SocketAddress, endpoint: Endpoint, options: SocketOptions
  ) throws(TransportError) {
    let tcp = address.family != AF_UNIX
    if tcp {
      var on: CInt = 1
      _ = unsafe setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<CInt>.size))
    } else if case .unix(let path) = endpoint {
      removeStaleSocket(path, address)
    }
    try options.apply(to: descriptor, tcp: tcp)
    guard unsafe address.withRaw({ unsafe Glibc.bind(descriptor, $0, $1) }) == 0, listen(descriptor, 128) == 0 else {
      throw .cannotListen(endpoint, Errno(rawValue: errno))
    }
  }

  /// Removes a socket file that nobody listens on any more: what a killed process leaves behind.
  private static func removeStaleSocket(_ path: String, _ address: SocketAddress) {
    var status = stat()
    guard unsafe lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK else { return }
    let probe = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
    guard probe >= 0 else { return }
    defer { close(probe) }
    if unsafe address.withRaw({ unsafe Glibc.connect(probe, $0, $1) }) != 0, errno == ECONNREFUSED {
      _ = unsafe unlink(path)
    }
  }

  /// The next connection, or nil if none came within `limit`.
  public func accept(within limit: Duration) throws(TransportError) -> Connection? {
    var wait = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    let ready = unsafe poll(&wait, 1, CInt(clamping: limit.nanoseconds / 1_000_000))
    guard ready > 0 else { return nil }
    let accepted = Glibc.accept(descriptor, nil, nil)
    guard accepted >= 0 else {
      switch Errno(rawValue: errno) {
      // The peer went away again, or the moment was bad: neither ends the listener.
      case .interrupted, .connectionAbort, .resourceTemporarilyUnavailable: return nil
      case let failure: throw .cannotListen(endpoint, failure)
      }
    }
    _ = fcntl(accepted, F_SETFD, FD_CLOEXEC)
    let peer = SocketAddress.name(of: accepted, remote: true).map { "\($0)" } ?? "\(endpoint)"
    return Connection(descriptor: accepted, peer: peer, isLocal: isLocal)
  }
}
