// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization
import SystemPackage
public import Transport

/// A small HTTP server: GET and HEAD, one request per connection, one thread.
///
/// What clients can take is bounded: connections at a time, bytes of a request, seconds of a connection. It never calls
/// the migration, and asks `respond` for text that is ready.
public final class WebServer: Sendable {
  struct Limits: Sendable {
    var connectionCount = 32
    var requestByteCount = 16_384
    /// From accept to close, whatever the client does.
    var milliseconds: Int64 = 10_000
  }

  public enum Failure: Error, Equatable, CustomStringConvertible {
    case cannotListen(Endpoint, reason: String)
    /// Other hosts could reach it.
    case notLocal(Endpoint)

    public var description: String {
      switch self {
      case .cannotListen(let endpoint, let reason): "cannot listen on \(endpoint): \(reason)"
      case .notLocal(let endpoint): "\(endpoint) can be reached from other hosts"
      }
    }
  }

  private let group: MultiThreadedEventLoopGroup
  private let channel: any Channel
  private let openCount: OpenCount
  /// With the real port, if any port was asked for.
  public let endpoint: Endpoint

  /// Connections that are open.
  final class OpenCount: Sendable {
    private let most: Int
    private let count = Atomic<Int>(0)

    init(most: Int) { self.most = most }

    /// False if there are too many already. The server's thread only.
    func enter() -> Bool {
      guard value < most else { return false }
      count.add(1, ordering: .relaxed)
      return true
    }

    func leave() { count.subtract(1, ordering: .relaxed) }
    var value: Int { count.load(ordering: .relaxed) }
  }

  /// Listens, and answers from now on.
  /// - Parameters:
  ///   - endpoint: TCP.
  ///   - abroad: whether other hosts may reach it.
  ///   - respond: any thread; quick.
  init(
    _ endpoint: Endpoint, abroad: Bool, limits: Limits = .init(),
    respond: @escaping @Sendable (WebRequest) -> WebResponse
  ) throws(Failure) {
    guard case .tcp(let host, let port) = endpoint else {
      throw .cannotListen(endpoint, reason: "it takes host:port")
    }
    let address: SocketAddress
    do { address = try .makeAddressResolvingHost(host.isEmpty ? "0.0.0.0" : host, port: Int(port)) } catch {
      throw .cannotListen(endpoint, reason: "the name cannot be resolved")
    }
    let isLocal = HostName.isLoopback(Self.name(address.ipAddress ?? ""))
    guard isLocal || abroad else { throw .notLocal(endpoint) }
    let open = OpenCount(most: limits.connectionCount)
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let bootstrap = ServerBootstrap(group: group)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try Self.prepare(channel, open, limits, isLocal: isLocal, respond)
        }
      }
    do { channel = try bootstrap.bind(to: address).wait() } catch {
      try? group.syncShutdownGracefully()
      let reason = (error as? IOError).map { "\(Errno(rawValue: $0.errnoCode))" } ?? "\(error)"
      throw .cannotListen(endpoint, reason: reason)
    }
    self.group = group
    openCount = open
    self.endpoint = .tcp(
      host: channel.localAddress?.ipAddress ?? host, port: UInt16(channel.localAddress?.port ?? Int(port)))
  }

  private static func prepare(
    _ channel: any Channel, _ open: OpenCount, _ limits: Limits, isLocal: Bool,
    _ respond: @escaping @Sendable (WebRequest) -> WebResponse
  ) throws {
    guard open.enter() else {
      channel.close(promise: nil)
      return
    }
    let deadline = channel.eventLoop.scheduleTask(in: .milliseconds(limits.milliseconds)) {
      channel.close(promise: nil)
    }
    channel.closeFuture.whenComplete { _ in
      deadline.cancel()
      open.leave()
    }
    let pipeline = channel.pipeline.syncOperations
    try pipeline.addHandlers([
      RequestGate(byteCountMax: limits.requestByteCount), HTTPResponseEncoder(),
      ByteToMessageHandler(HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes)), HTTPServerProtocolErrorHandler(),
      RequestHandler(isLocal: isLocal, respond: respond),
    ])
  }

  /// An address as the `Host` header has it.
  private static func name(_ address: String) -> String { address.contains(":") ? "[\(address)]" : address }

  /// Connections that are open now.
  var connectionCount: Int { openCount.value }

  /// Closes everything. Call once.
  public func stop() {
    try? channel.close().wait()
    try? group.syncShutdownGracefully()
  }
}
