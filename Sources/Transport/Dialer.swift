// SPDX-License-Identifier: Apache-2.0
import Glibc
import HostSystem
import SystemPackage

/// Makes connections, again and again until somebody answers.
public struct Dialer: Sendable {
  /// Where to connect.
  public let endpoint: Endpoint
  /// Set on every socket.
  public let options: SocketOptions

  public init(endpoint: Endpoint, options: SocketOptions) {
    self.endpoint = endpoint
    self.options = options
  }

  /// Connects, retrying with growing pauses (0.1 to 1 s) while nobody listens.
  /// - Parameters:
  ///   - limit: how long to go on; at least one attempt is made.
  ///   - isCancelled: looked at ten times a second.
  public func connect(
    within limit: Duration, isCancelled: () -> Bool = { false }
  ) throws(TransportError) -> Connection {
    let start = HostClock.now()
    let limitNanoseconds = limit.nanoseconds
    var pause: UInt64 = 100_000_000
    while true {
      // Resolved each time: a name may begin to resolve while its host comes up.
      var failure = Errno.connectionRefused
      for address in try SocketAddress.resolve(endpoint, passive: false) {
        // The last attempt has a second of its own, so that the reason is the peer's and not our impatience.
        let deadline = max(start + limitNanoseconds, HostClock.now() + 1_000_000_000)
        switch attempt(address, until: deadline, isCancelled: isCancelled) {
        case .success(let descriptor):
          do throws(TransportError) {
            try options.apply(to: descriptor, tcp: address.family != AF_UNIX, isLocal: address.isLocal)
          } catch {
            close(descriptor)
            throw error
          }
          return Connection(descriptor: descriptor, peer: "\(endpoint)", isLocal: address.isLocal)
        case .failure(let errno): failure = errno
        }
        if isCancelled() { throw .stopped }
      }
      let elapsed = HostClock.now() - start
      guard elapsed < limitNanoseconds else {
        throw .cannotConnect(endpoint, failure, seconds: Int(limitNanoseconds / 1_000_000_000))
      }
      let resume = HostClock.now() + min(pause, limitNanoseconds - elapsed)
      while HostClock.now() < resume {
        if isCancelled() { throw .stopped }
        HostClock.sleep(nanoseconds: min(100_000_000, resume - min(resume, HostClock.now())))
      }
      pause = min(pause * 2, 1_000_000_000)
    }
  }

  private func attempt(_ address: SocketAddress, until deadline: UInt64, isCancelled: () -> Bool) -> Result<CInt, Errno>
  {
    let descriptor = socket(
      address.family, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue), 0)
    guard descriptor >= 0 else { return .failure(Errno(rawValue: errno)) }
    if let failure = finishConnecting(descriptor, address, until: deadline, isCancelled: isCancelled) {
      close(descriptor)
      return .failure(failure)
    }
    _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) & ~O_NONBLOCK)
    return .success(descriptor)
  }

  private func finishConnecting(
    _ descriptor: CInt, _ address: SocketAddress, until deadline: UInt64, isCancelled: () -> Bool
  ) -> Errno? {
    if unsafe address.withRaw({ unsafe Glibc.connect(descriptor, $0, $1) }) == 0 { return nil }
    guard errno == EINPROGRESS else { return Errno(rawValue: errno) }
    while HostClock.now() < deadline {
      if isCancelled() { return .canceled }
      var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
      if unsafe poll(&wait, 1, 100) > 0 {
        var status: CInt = 0
        var length = socklen_t(MemoryLayout<CInt>.size)
        _ = unsafe getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &status, &length)
        return status == 0 ? nil : Errno(rawValue: status)
      }
    }
    return .timedOut
  }
}
