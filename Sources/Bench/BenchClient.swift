// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import HostSystem
import Migration
import PageModel
import Synchronization
public import Transport
import Workload

/// The near end of a benchmark: asks the server for one test after another, and puts together what they found.
///
/// ``run()`` does everything on the calling thread and its tests' threads; ``cancel(_:)`` and ``progress`` may be used from
/// any other.
public final class BenchClient: Sendable {
  /// What an operator decides.
  public struct Configuration: Sendable {
    public var endpoint: Endpoint
    public var socketOptions: SocketOptions
    /// Seconds for everything.
    public var budget: Double
    /// Bytes of a guest.
    public var memory: UInt64
    public var seed: UInt64
    /// Where the content `image` comes from.
    public var imagePath: String?
    public var axes: Axes
    public var software: String

    public init(
      endpoint: Endpoint, socketOptions: SocketOptions = .init(), budget: Double, memory: UInt64, seed: UInt64 = 1,
      imagePath: String? = nil, axes: Axes, software: String
    ) {
      self.endpoint = endpoint
      self.socketOptions = socketOptions
      self.budget = budget
      self.memory = memory
      self.seed = seed
      self.imagePath = imagePath
      self.axes = axes
      self.software = software
    }
  }

  let configuration: Configuration
  private let state = Mutex(State())
  private let started = HostClock.now()

  /// What a cancel has to end, and what a display looks at.
  private struct State {
    var reason: String?
    var control: Connection?
    var streams: [Connection] = []
    var session: SourceSession?
    var step = ""
  }

  public init(_ configuration: Configuration) { self.configuration = configuration }

  /// Ends what goes on, and ``run()``: its report has what was found so far.
  public func cancel(_ reason: String) {
    state.withLock { state in
      state.reason = state.reason ?? reason
      state.session?.cancel(reason)
      for stream in state.streams { stream.shutDown() }
      // A migration says goodbye by itself; else nobody waits for an answer any more.
      if state.session == nil { state.control?.shutDown() }
    }
  }

  /// What it is at.
  public var progress: BenchProgress {
    let (step, session) = state.withLock { ($0.step, $0.session) }
    return BenchProgress(
      step: step, fraction: session.map { $0.statistics.bulkFraction }, secondsLeft: max(0, secondsLeft))
  }

  var isCancelled: Bool { state.withLock { $0.reason != nil } }
  var seconds: Double { Double(HostClock.now() - started) / 1e9 }
  var secondsLeft: Double { configuration.budget - seconds }

  func note(step: String) { state.withLock { $0.step = step } }

  func attach(_ session: SourceSession?) {
    state.withLock { state in
      state.session = session
      if let reason = state.reason { session?.cancel(reason) }
    }
  }

  func attach(streams: [Connection]) {
    state.withLock { state in
      state.streams = streams
      if state.reason != nil { for stream in streams { stream.shutDown() } }
    }
  }

  /// Measures.
  /// - Returns: everything that was found; with a failure, if it ended before its time.
  public func run() -> BenchReport {
    let findings = Findings(configuration)
    do throws(MigrationFailure) {
      let channel = try connect()
      defer { channel.connection.shutDown() }
      do throws(BenchError) {
        try BenchCourse(client: self, channel: channel, findings: findings).run()
        try channel.send(.bye(.init()))
      } catch { throw failure(error, channel) }
    } catch { findings.failure = state.withLock { $0.reason }.map { MigrationFailure(.cancelled, $0) } ?? error }
    return findings.report(seconds: seconds)
  }

  private func failure(_ error: BenchError, _ channel: LineChannel) -> MigrationFailure {
    MigrationFailure(bench: error, peer: channel.peer)
  }

  private func connect() throws(MigrationFailure) -> LineChannel {
    note(step: "connecting to \(configuration.endpoint)")
    let connection = try dial(configuration.endpoint)
    state.withLock { $0.control = connection }
    return LineChannel(connection)
  }

  /// A connection to the server.
  func dial(_ endpoint: Endpoint) throws(MigrationFailure) -> Connection {
    let dialer = Dialer(endpoint: endpoint, options: configuration.socketOptions)
    do throws(TransportError) {
      return try dialer.connect(within: .seconds(5), isCancelled: { self.isCancelled })
    } catch { throw MigrationFailure(connecting: error) }
  }

  /// The server's host, with another port.
  func endpoint(port: UInt16) -> Endpoint {
    guard case .tcp(let host, _) = configuration.endpoint else { return configuration.endpoint }
    return .tcp(host: host, port: port)
  }
}

/// What was found so far. Belongs to the client's thread.
final class Findings {
  private let configuration: BenchClient.Configuration
  let client: HostDescription
  var server: HostDescription?
  var roundTrip = 0.0
  var link: [LinkFigures] = []
  var clientFigures: HostFigures?
  var serverFigures: HostFigures?
  /// In the order of their first runs.
  private(set) var order: [Cell] = []
  private(set) var runs: [Cell: [CellRun]] = [:]
  var skipped: [SkippedCell] = []
  var failure: MigrationFailure?

  init(_ configuration: BenchClient.Configuration) {
    self.configuration = configuration
    client = .current(software: configuration.software)
  }

  var isSameHost: Bool { server.map { client.isSameHost(as: $0) } ?? false }

  func add(_ run: CellRun, of cell: Cell) {
    if runs[cell] == nil { order.append(cell) }
    runs[cell, default: []].append(run)
  }

  func report(seconds: Double) -> BenchReport {
    let hosts = Load.Hosts(
      link: link, roundTrip: roundTrip, sourceCPUs: client.cpus, destinationCPUs: server?.cpus ?? 1,
      areSame: isSameHost)
    let cells = order.map { CellResult(cell: $0, runs: runs[$0] ?? [], hosts: hosts) }
    return BenchReport(
      peer: "\(configuration.endpoint)", budgetSeconds: configuration.budget, seconds: seconds,
      memory: configuration.memory, seed: configuration.seed, axes: configuration.axes, client: client, server: server,
      sameHost: isSameHost, roundTripSeconds: roundTrip, link: link, clientFigures: clientFigures,
      serverFigures: serverFigures, cells: cells, skipped: skipped,
      recommendation: Recommendation(cells, baseline: configuration.axes.baseline, areSame: isSameHost),
      failure: failure.map {
        .init(code: $0.code.rawValue, name: "\($0.code)", reason: $0.reason, fromPeer: $0.isFromPeer)
      })
  }
}
