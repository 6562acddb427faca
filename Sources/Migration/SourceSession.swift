// SPDX-License-Identifier: Apache-2.0
public import GuestMemory
import HostSystem
import Lanes
public import PageCodecs
import PageKernels
import PageModel
import Synchronization
public import Transport
import Wire

/// The sending side of one migration, from hello to resumed.
///
/// ``run()`` does everything on the calling thread and its pipelines' threads; ``cancel(_:)`` and ``progress`` may be
/// used from any other.
public final class SourceSession: Sendable {
  /// What an operator decides.
  public struct Configuration: Sendable {
    public var endpoint: Endpoint
    public var socketOptions: SocketOptions
    /// How long to look for the receiver.
    public var connectTimeout: Duration
    public var channelCount: Int
    /// Worker threads; at least one per channel.
    public var laneCount: Int
    public var codec: CodecPolicy
    /// Memory for what codecs with a history look back over, in bytes, over all lanes and on either side.
    public var historyByteCount: UInt64
    /// Wire bytes per second over all channels; 0 for no limit.
    public var bandwidthLimit: UInt64
    /// Compare a digest of every block before the commit.
    public var verify: Bool
    /// Program and version, for the peer's log.
    public var software: String

    public init(
      endpoint: Endpoint, socketOptions: SocketOptions = .init(), connectTimeout: Duration = .seconds(10),
      channelCount: Int = 2, laneCount: Int = 2, codec: CodecPolicy = .none,
      historyByteCount: UInt64 = 256 << 20, bandwidthLimit: UInt64 = 0,
      verify: Bool = true, software: String
    ) {
      self.endpoint = endpoint
      self.socketOptions = socketOptions
      self.connectTimeout = connectTimeout
      self.channelCount = channelCount
      self.laneCount = max(laneCount, channelCount)
      self.codec = codec
      self.historyByteCount = historyByteCount
      self.bandwidthLimit = bandwidthLimit
      self.verify = verify
      self.software = software
    }
  }

  /// How long a peer may take over each answer of the setup.
  private static let answerLimit = Duration.seconds(10)
  /// How long the destination may take to reserve the guest's memory without a word.
  private static let reservationLimit = Duration.seconds(120)

  private let memory: any SourceMemory
  private let configuration: Configuration
  private let clock = PhaseClock()
  private let identity = SessionIdentity.random()
  private let events = Mailbox<SessionEvent>()
  private let cancelled = Atomic<Bool>(false)
  private let live = Mutex(Live())

  /// What other threads look at, or shut down.
  private struct Live {
    var connections: [Connection] = []
    var pipeline: SendingPipeline?
    var notReadPages: UInt64 = 0
  }

  public init(memory: any SourceMemory, configuration: Configuration) {
    self.memory = memory
    self.configuration = configuration
  }

  /// Asks the migration to end. Before the commit it ends as cancelled within a second, and the source is as it was;
  /// after it, the request is too late and does nothing.
  public func cancel(_ reason: String) {
    cancelled.store(true, ordering: .relaxed)
    events.post(.cancel(reason: reason))
    // In setup the session's thread may be waiting for an answer: end that wait.
    if clock.phase == .setup { live.withLock { live in for connection in live.connections { connection.shutDown() } } }
  }

  /// Migrates.
  /// - Returns: the report of a completed migration, or of one that did not complete and why.
  public func run() -> MigrationReport {
    do throws(MigrationFailure) {
      let control = try setUp()
      let vigil = Vigil(limit: .seconds(configuration.socketOptions.deadPeerSeconds))
      let receiving = control.startReceiving(into: events, vigil: vigil)
      defer {
        control.connection.shutDown()
        receiving.join()
      }
      return try migrate(control, vigil)
    } catch {
      return end(error, control: nil)
    }
  }

  // MARK: Setup

  private func setUp() throws(MigrationFailure) -> ControlChannel {
    let control = ControlChannel(try connect())
    control.connection.setTimeout(Self.answerLimit)
    let accept = try introduce(control)
    for channel in 1...configuration.channelCount {
      let connection = try connect()
      connection.setTimeout(Self.answerLimit)
      let data = ControlChannel(connection)
      try data.send(.attach(.init(version: accept.version, token: accept.token, channel: UInt16(channel))))
      switch try answer(from: data) {
      case .attached: connection.setTimeout(nil)
      case .reject(let refusal), .error(let refusal): throw MigrationFailure(refusal, peer: control.peer)
      default: throw MigrationFailure(.protocolViolation, "\(control.peer) answered 'attach' with something else")
      }
    }
    control.connection.setTimeout(nil)
    clock.apply(.accepted)
    return control
  }

  private func connect() throws(MigrationFailure) -> Connection {
    let dialer = Dialer(endpoint: configuration.endpoint, options: configuration.socketOptions)
    let connection: Connection
    do throws(TransportError) {
      connection = try dialer.connect(
        within: configuration.connectTimeout, isCancelled: { self.cancelled.load(ordering: .relaxed) })
    } catch {
      throw cancelled.load(ordering: .relaxed) ? cancellation() : MigrationFailure(connecting: error)
    }
    live.withLock { $0.connections.append(connection) }
    if cancelled.load(ordering: .relaxed) { throw cancellation() }
    return connection
  }

  private func introduce(_ control: ControlChannel) throws(MigrationFailure) -> ControlMessage.Accept {
    let hello = ControlMessage.Hello(
      session: identity, channelCount: configuration.channelCount, laneCount: configuration.laneCount,
      codecs: configuration.codec.tags.map { $0.rawValue }, historyLog: historyLog, software: configuration.software,
      blocks: memory.blocks.blocks)
    try control.send(.hello(hello))
    switch try answer(from: control) {
    case .accept(let accept):
      guard WireLimits.versions.contains(accept.version) else {
        throw MigrationFailure(.versionMismatch, "\(control.peer) chose protocol version \(accept.version)")
      }
      return accept
    case .reject(let refusal), .error(let refusal): throw MigrationFailure(refusal, peer: control.peer)
    case .cancel(let reason): throw .cancelled(byPeer: control.peer, reason: reason)
    default: throw MigrationFailure(.protocolViolation, "\(control.peer) answered 'hello' with something else")
    }
  }

  /// What a lane may look back over, as a base-2 logarithm: its share of the allowance, but no more than it will send.
  private var historyLog: UInt8 {
    guard configuration.codec.choices.contains(where: { $0.hasHistory }) else { return 0 }
    let laneBytes = memory.blocks.byteCount / UInt64(configuration.laneCount)
    let share = min(configuration.historyByteCount / UInt64(configuration.laneCount), laneBytes * 2)
    return UInt8(ZstdLongCodec.windowLog(historyByteCount: Int(clamping: share)))
  }

  /// The first words of a peer that may not be one of ours at all.
  private func answer(from channel: ControlChannel) throws(MigrationFailure) -> ControlMessage {
    do throws(MigrationFailure) { return try channel.receive() } catch {
      if cancelled.load(ordering: .relaxed) { throw cancellation() }
      guard error.code == .peerLost, clock.phase == .setup else { throw error }
      throw MigrationFailure(
        .notPageFerry, "\(channel.peer) answers, but not as a PageFerry receiver (it hung up or said nothing for 10 s)")
    }
  }

  /// The reason that the operator gave, found in the mailbox.
  private func cancellation() -> MigrationFailure {
    while let event = events.next(nanoseconds: 0) {
      if case .cancel(let reason) = event { return MigrationFailure(.cancelled, reason) }
    }
    return MigrationFailure(.cancelled, "cancelled")
  }

  // MARK: Migration

  private func migrate(_ control: ControlChannel, _ vigil: Vigil) throws(MigrationFailure) -> MigrationReport {
    do throws(MigrationFailure) {
      try wait(for: .reserved, from: control, vigil)
      clock.apply(.reserved)
      let pipeline = try makePipeline()
      try iterate(pipeline, control, vigil)
      clock.apply(.converged)
      try switchOver(pipeline, control, vigil)
      // Everything is acknowledged, so no thread is in the middle of anything. After a failure it is end() that
      // stops the pipeline, connections first: a sender may be waiting for a peer that does not read.
      pipeline.stop(keepConnections: true)
      return report(.completed)
    } catch {
      return end(error, control: control)
    }
  }

  private func makePipeline() throws(MigrationFailure) -> SendingPipeline {
    var pending: [SpanMap] = []
    var present = 0
    do throws(GuestMemoryError) {
      for block in memory.blocks.blocks.indices {
        let map = try memory.presentPages(block: block)
        present += map.count()
        pending.append(map)
      }
    } catch { throw MigrationFailure(input: error) }
    let data = live.withLock { Array($0.connections.dropFirst()) }
    let pipeline: SendingPipeline
    do throws(LaneError) {
      pipeline = try SendingPipeline(
        memory: memory, pending: pending, connections: data,
        configuration: .init(
          laneCount: configuration.laneCount, codec: configuration.codec,
          historyByteCount: historyLog == 0 ? 0 : 1 << Int(historyLog), wantsDigests: configuration.verify,
          pacer: Pacer(bytesPerSecond: configuration.bandwidthLimit)),
        onEvent: { [events] in events.post(.sending($0)) })
    } catch { throw failure(error) }
    live.withLock { live in
      live.pipeline = pipeline
      live.notReadPages = UInt64(memory.blocks.pageCount - present)
    }
    pipeline.start()
    return pipeline
  }

  private func failure(_ error: LaneError) -> MigrationFailure {
    MigrationFailure(error, with: "\(configuration.endpoint)", memory: MigrationFailure.init(input:))
  }

  /// A still image takes one iteration: the bulk stage.
  private func iterate(
    _ pipeline: SendingPipeline, _ control: ControlChannel, _ vigil: Vigil
  ) throws(MigrationFailure) {
    let toSend = UInt64(memory.blocks.pageCount) - live.withLock { $0.notReadPages }
    try control.send(.iterationBegin(.init(iteration: 1, pageCount: toSend)))
    pipeline.begin(iteration: 1)
    try wait(control, vigil) { event in
      if case .sending(.iterationProduced(1)) = event { true } else { false }
    }
    let sent = pipeline.statistics
    try control.send(
      .iterationEnd(
        .init(iteration: 1, zeroPageCount: sent.zeroPages, dataPageCount: sent.dataPages, deltaPageCount: 0)))
    try wait(control, vigil) { event in
      if case .message(.ack(let ack)) = event { ack.completedIteration == 1 } else { false }
    }
  }

  private func switchOver(
    _ pipeline: SendingPipeline, _ control: ControlChannel, _ vigil: Vigil
  ) throws(MigrationFailure) {
    do throws(GuestMemoryError) { try memory.checkUnchanged() } catch { throw MigrationFailure(input: error) }
    let digests =
      configuration.verify
      ? pipeline.digests.map { ControlMessage.DigestWords(low: $0.low, high: $0.high) } : []
    try control.send(.final(.init(guestState: [], digests: digests)))
    try wait(for: .ready, from: control, vigil)
    // The point of no return: what follows cannot be cancelled, and a loss leaves the outcome unknown.
    clock.apply(.ready)
    try control.send(.commit)
    try wait(for: .resumed, from: control, vigil)
    clock.apply(.resumed)
  }

  private func wait(
    for expected: ControlMessage, from control: ControlChannel, _ vigil: Vigil
  ) throws(MigrationFailure) {
    try wait(control, vigil) { event in
      if case .message(expected) = event { true } else { false }
    }
  }

  /// Handles events until `isExpected` says yes to one; meanwhile the destination hears from us every second.
  private func wait(
    _ control: ControlChannel, _ vigil: Vigil, until isExpected: (SessionEvent) -> Bool
  ) throws(MigrationFailure) {
    let interval = SessionPatience.heartbeatInterval.nanoseconds
    var nextHeartbeat = HostClock.now() + interval
    while true {
      let now = HostClock.now()
      if now >= nextHeartbeat {
        // A destination that reserves memory has no time to talk: it is given longer.
        let limit = clock.phase == .reservation ? Self.reservationLimit : nil
        try vigil.check(peer: control.peer, atLeast: limit)
        try control.send(.heartbeat)
        nextHeartbeat = now + interval
      }
      guard let event = events.next(nanoseconds: Int64(clamping: nextHeartbeat - now)) else { continue }
      if isExpected(event) { return }
      switch event {
      case .message(.ack), .sending(.iterationProduced): break
      case .message(.error(let refusal)), .message(.reject(let refusal)):
        throw MigrationFailure(refusal, peer: control.peer)
      case .message(.cancel(let reason)):
        // A cancel that crossed our commit: the destination will go on when the commit arrives.
        if clock.phase != .commit { throw .cancelled(byPeer: control.peer, reason: reason) }
      case .message:
        throw MigrationFailure(.protocolViolation, "\(control.peer) sent a control message out of turn")
      case .controlEnded(let failure): throw failure
      case .sending(.failed(let error)): throw events.lastWords(explaining: failure(error), peer: control.peer)
      case .cancel(let reason):
        // Too late once the commit is out: the destination has the guest.
        if clock.phase != .commit { throw MigrationFailure(.cancelled, reason) }
      case .receiving, .digested, .visitor: break
      }
    }
  }

  // MARK: The end

  /// Ends a migration that did not complete: tells the peer, closes everything.
  private func end(_ failure: MigrationFailure, control: ControlChannel?) -> MigrationReport {
    var final = failure
    if clock.phase == .commit, failure.code != .cancelled, !failure.isFromPeer {
      final = MigrationFailure(
        .outcomeUnknown,
        "the connection was lost after the commit (\(failure.reason)): \(configuration.endpoint) may hold the guest; "
          + "look there before anything else is started")
    }
    if let control, let farewell = final.farewell {
      control.connection.setTimeout(SessionPatience.lastWords)
      try? control.send(farewell)
    }
    let (connections, pipeline) = live.withLock { ($0.connections, $0.pipeline) }
    for connection in connections { connection.shutDown() }
    pipeline?.stop()
    let isCancel = final.code == .cancelled || final.code == .cancelledByPeer
    clock.apply(isCancel ? .cancel : .fail)
    var report = report(clock.phase)
    report.fail(final, phase: clock.phase)
    return report
  }

  /// Where the migration stands.
  public var progress: MigrationProgress {
    let (pipeline, notRead, wire) = live.withLock { live in
      (live.pipeline, live.notReadPages, live.connections.reduce(0) { $0 + $1.sentByteCount })
    }
    let sent = pipeline?.statistics
    return MigrationProgress(
      phase: clock.phase, peer: "\(configuration.endpoint)",
      elapsedSeconds: Double(clock.elapsedNanoseconds) / 1e9, totalPages: UInt64(memory.blocks.pageCount),
      notReadPages: notRead, zeroPages: sent?.zeroPages ?? 0, dataPages: sent?.dataPages ?? 0, wireBytes: wire,
      codec: sent?.codecsInUse ?? "")
  }

  private func report(_ outcome: Phase) -> MigrationReport {
    let now = progress
    let pipeline = live.withLock { $0.pipeline }
    let sent = pipeline?.statistics ?? SendingStatistics()
    let seconds = clock.seconds
    let digests = outcome == .completed && configuration.verify ? pipeline?.digests : nil
    return MigrationReport(
      role: .source, outcome: outcome, session: "\(identity)", peer: now.peer,
      blocks: memory.blocks.blocks.enumerated().map { index, block in
        .init(
          name: block.name, guestPhysicalBase: block.guestPhysicalBase, byteCount: block.byteCount,
          digest: digests.map { "\($0[index])" })
      },
      pages: .init(total: now.totalPages, notRead: now.notReadPages, zero: now.zeroPages, data: now.dataPages),
      bytes: .init(
        guest: memory.blocks.byteCount, wire: now.wireBytes,
        guestPerSecond: Double(memory.blocks.byteCount) / max(seconds.total, 1e-9),
        wirePerSecond: Double(now.wireBytes) / max(seconds.active, 1e-9)),
      seconds: seconds,
      codec: .init(configuration.codec, sent),
      channels: configuration.channelCount, lanes: configuration.laneCount,
      resources: .current(
        bufferBytes: pipeline?.ringByteCount ?? 0,
        historyBytes: sent.usesHistory(configuration.codec) ? configuration.laneCount << Int(historyLog) : 0,
        memoryNanoseconds: sent.snapshotNanoseconds,
        blockedNanoseconds: sent.blockedNanoseconds))
  }
}
