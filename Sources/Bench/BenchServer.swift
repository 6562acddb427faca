// SPDX-License-Identifier: Apache-2.0
import HostSystem
public import Migration
import PageModel
import Synchronization
public import Transport
import Workload

/// The far end of a benchmark: measures what a client asks for, and takes its migrations.
///
/// ``run()`` does everything on the calling thread and its tests' threads; ``cancel(_:)`` may be used from any other.
public final class BenchServer: Sendable {
  /// What an operator decides.
  public struct Configuration: Sendable {
    /// Port for streams and migrations; 0 for any that is free.
    public var dataPort: UInt16
    /// Most guest memory, codec history included, to reserve for a client.
    public var memoryLimit: UInt64
    /// How long to wait for a client; nil for ever.
    public var waitLimit: Duration?
    /// Serve one client after another, until cancelled.
    public var keep: Bool
    public var socketOptions: SocketOptions
    public var software: String

    public init(
      dataPort: UInt16 = 0, memoryLimit: UInt64, waitLimit: Duration? = nil, keep: Bool = false,
      socketOptions: SocketOptions = .init(), software: String
    ) {
      self.dataPort = dataPort
      self.memoryLimit = memoryLimit
      self.waitLimit = waitLimit
      self.keep = keep
      self.socketOptions = socketOptions
      self.software = software
    }
  }

  /// How long a client may take over its first line, and between two lines: it fills memory meanwhile.
  private static let helloLimit = Duration.seconds(5)
  private static let lineLimit = Duration.seconds(300)

  private let listener: Listener
  private let configuration: Configuration
  private let log: @Sendable (String) -> Void
  private let state = Mutex(State())

  /// What a cancel has to end.
  private struct State {
    var reason: String?
    var control: Connection?
    var session: DestinationSession?
    var streams: LinkReceiver?
  }

  /// - Parameter log: takes lines for people.
  public init(listener: Listener, configuration: Configuration, log: @escaping @Sendable (String) -> Void) {
    self.listener = listener
    self.configuration = configuration
    self.log = log
  }

  /// Ends what goes on, and ``run()``.
  public func cancel(_ reason: String) {
    state.withLock { state in
      state.reason = state.reason ?? reason
      state.session?.cancel(reason)
      state.streams?.stop()
      state.control?.shutDown()
    }
  }

  private var reason: String? { state.withLock { $0.reason } }

  /// Serves. Whoever connects and does not speak the protocol is named and dropped.
  /// - Returns: nil when a client was served to its end; else why not.
  public func run() -> MigrationFailure? {
    let deadline = configuration.waitLimit.map { HostClock.now() + $0.nanoseconds }
    while true {
      if let reason { return MigrationFailure(.cancelled, reason) }
      if let deadline, HostClock.now() > deadline {
        return MigrationFailure(.peerAbsent, "no client came to \(listener.endpoint) in time (--wait)")
      }
      let accepted: Connection?
      do throws(TransportError) { accepted = try listener.accept(within: .milliseconds(100)) } catch {
        return MigrationFailure(listening: error)
      }
      guard let connection = accepted else { continue }
      let channel = LineChannel(connection)
      state.withLock { $0.control = connection }
      let isOver = receive(channel)
      state.withLock { $0.control = nil }
      connection.shutDown()
      if let reason { return MigrationFailure(.cancelled, reason) }
      switch isOver {
      case .stranger: continue
      case .client(let failure):
        if !configuration.keep { return failure }
        if let failure { log("\(failure)") }
        log("waiting for a client on \(listener.endpoint)")
      }
    }
  }

  private enum Visit {
    /// It never was a client.
    case stranger
    case client(MigrationFailure?)
  }

  private func receive(_ channel: LineChannel) -> Visit {
    do throws(BenchError) {
      let introduction = try channel.expect("hello", within: Self.helloLimit) { message in
        if case .hello(let introduction) = message { introduction } else { nil }
      }
      log("\(channel.peer) (\(introduction.host.software), \(introduction.host.cpus) CPUs) measures")
      try channel.send(
        .welcome(
          .init(host: .current(software: configuration.software), memoryLimit: configuration.memoryLimit)))
    } catch {
      refuse(channel, error)
      log("\(channel.peer) is not a client: \(error); dropped")
      return .stranger
    }
    do throws(BenchError) {
      while try answer(channel) {}
      log("\(channel.peer) is done")
      return .client(nil)
    } catch {
      refuse(channel, error)
      return .client(MigrationFailure(bench: error, peer: channel.peer))
    }
  }

  /// Last words: what was wrong with a peer's lines.
  private func refuse(_ channel: LineChannel, _ error: BenchError) {
    switch error {
    case .transport, .closed: return
    default:
      let failure = MigrationFailure(bench: error, peer: "")
      try? channel.send(.refused(.init(code: Int(failure.code.rawValue), reason: "\(error)")), within: .seconds(1))
      channel.connection.finishSending()
    }
  }

  /// Does what the next line asks for; false when there is nothing more.
  private func answer(_ channel: LineChannel) throws(BenchError) -> Bool {
    switch try channel.next(within: Self.lineLimit) {
    case .ping(let count): try channel.send(.pong(count))
    case .link(let request): try measureLink(request, channel)
    case .host(let request): try channel.send(.measured(measureHost(request)))
    case .cell(let request): try migrate(request, channel)
    case .bye: return false
    case let other: throw .unexpected(found: other.name, expected: "link, host, cell or bye")
    }
    return true
  }

  /// A listener of its own for what comes next.
  private func dataListener() throws(BenchError) -> (Listener, UInt16) {
    guard case .tcp(let host, _) = listener.endpoint else {
      throw .transport(.badEndpoint(text: "\(listener.endpoint)", reason: "bench needs TCP"))
    }
    do throws(TransportError) {
      let made = try Listener(
        endpoint: .tcp(host: host, port: configuration.dataPort), options: configuration.socketOptions)
      guard case .tcp(_, let port) = made.endpoint else { return (made, 0) }
      return (made, port)
    } catch { throw .transport(error) }
  }

  private func measureLink(_ request: BenchMessage.LinkRequest, _ channel: LineChannel) throws(BenchError) {
    let (data, port) = try dataListener()
    let token = StreamToken.random()
    try channel.send(.ready(.init(port: port, token: token)))
    let receiver = try LinkReceiver.gather(
      request.streams, on: data, token: token, isCancelled: { self.reason != nil })
    state.withLock { $0.streams = receiver }
    defer { state.withLock { $0.streams = nil } }
    if reason != nil { receiver.stop() }
    receiver.start(seconds: request.seconds)
    do throws(BenchError) { try channel.send(.attached(.init())) } catch {
      receiver.stop()
      _ = receiver.finish(seconds: 0)
      throw error
    }
    try channel.send(.linked(receiver.finish(seconds: request.seconds)))
  }

  private func measureHost(_ request: BenchMessage.HostRequest) -> HostFigures {
    let mix = (try? ContentMix(parsing: request.mix)) ?? .standard
    let budget = min(request.memory, configuration.memoryLimit)
    guard
      let content = try? WorkloadContent(mix: mix, seed: request.seed, byteCount: max(4096, request.memory)),
      budget >= UInt64(PageGeometry.stripeByteCount) * 2
    else { return .none }
    return HostMeter.measure(
      codecs: request.codecs, sample: CodecMeter.sample(content, byteCount: budget), budget: budget,
      seconds: request.seconds)
  }

  private func migrate(_ request: BenchMessage.CellRequest, _ channel: LineChannel) throws(BenchError) {
    let (wanted, overflow) = request.memory.addingReportingOverflow(request.history)
    guard !overflow, wanted <= configuration.memoryLimit else {
      throw .outOfRange(
        field: "guest memory with codec history", found: ByteCount.format(wanted),
        allowed: "at most \(ByteCount.format(configuration.memoryLimit)) (--memory-limit)")
    }
    let (data, port) = try dataListener()
    WarmMemory.touch(byteCount: request.memory)
    try channel.send(.ready(.init(port: port, token: "")))
    let run = DestinationRun(listener: data, request: request, software: configuration.software)
    let figures = run.run { session in
      state.withLock { state in
        state.session = session
        if let reason = state.reason { session?.cancel(reason) }
      }
    }
    if let reason { throw .refused(code: Int(FailureCode.cancelledByPeer.rawValue), reason: reason) }
    try channel.send(.received(figures))
  }
}
