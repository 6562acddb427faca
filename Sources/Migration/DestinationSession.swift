// SPDX-License-Identifier: Apache-2.0
public import GuestMemory
import HostSystem
import Lanes
public import Logging
import PageCodecs
import PageKernels
public import PageModel
import Synchronization
public import Transport
import Wire

/// The receiving side of one migration: waits for a source, takes its guest's memory, and makes it its own at commit.
///
/// ``run()`` does everything on the calling thread and its pipelines' threads; ``cancel(_:)`` and ``progress`` may be
/// used from any other.
public final class DestinationSession: Sendable {
  /// Makes the memory for the blocks that a source declares.
  public typealias MemoryMaker = @Sendable (BlockTable) throws(GuestMemoryError) -> any DestinationMemory

  /// What an operator decides.
  public struct Configuration: Sendable {
    /// How long to wait for a source; nil for ever.
    public var waitLimit: Duration?
    /// The blocks that the guest must have; nil takes any.
    public var expectedBlocks: BlockTable?
    /// Most guest memory to accept, in bytes.
    public var memoryLimit: UInt64
    /// Longest silence of the source while it is due to speak (setup only; later the transport watches).
    public var setupTimeout: Duration
    /// Threads that verify the digest.
    public var digestThreadCount: Int
    /// Program and version, for the peer's log.
    public var software: String

    public init(
      waitLimit: Duration? = nil, expectedBlocks: BlockTable? = nil, memoryLimit: UInt64 = BlockTable.totalByteCountMax,
      setupTimeout: Duration = .seconds(10), digestThreadCount: Int = 2, software: String
    ) {
      self.waitLimit = waitLimit
      self.expectedBlocks = expectedBlocks
      self.memoryLimit = memoryLimit
      self.setupTimeout = setupTimeout
      self.digestThreadCount = max(1, digestThreadCount)
      self.software = software
    }
  }

  /// How often the source hears how far the destination has come; also the heartbeat of the control channel.
  private static let ackInterval = Duration.milliseconds(100)

  private let listener: Listener
  private let makeMemory: MemoryMaker
  private let configuration: Configuration
  private let logger: Logger
  private let clock = PhaseClock()
  private let events = Mailbox<SessionEvent>()
  private let live = Mutex(Live())

  /// What other threads look at.
  private struct Live {
    var hello: ControlMessage.Hello?
    var blocks: BlockTable?
    var control: Connection?
    var pipeline: ReceivingPipeline?
    var digests: [BlockDigest]?
  }

  public init(listener: Listener, configuration: Configuration, logger: Logger, makeMemory: @escaping MemoryMaker) {
    self.listener = listener
    self.configuration = configuration
    self.logger = logger
    self.makeMemory = makeMemory
  }

  /// Asks the migration to end. Before the source's commit it ends as cancelled within a second and everything that
  /// was received is dropped; after it, the request is too late and does nothing.
  public func cancel(_ reason: String) { events.post(.cancel(reason: reason)) }

  /// Waits for a source and takes its guest.
  /// - Returns: the report of a completed migration, or of one that did not complete and why.
  public func run() -> MigrationReport {
    let reception = Reception(
      listener: listener, warn: { [logger] in logger.warning("\($0)") },
      deliver: { [events] in events.post(.visitor($0)) })
    reception.start()
    defer { reception.stop() }
    do throws(MigrationFailure) {
      let (control, hello) = try awaitSource()
      return try serve(control, hello)
    } catch {
      return report(ending: error)
    }
  }

  // MARK: Setup

  private func awaitSource() throws(MigrationFailure) -> (ControlChannel, ControlMessage.Hello) {
    let deadline = configuration.waitLimit.map { HostClock.now() + $0.nanoseconds }
    while true {
      let left = deadline.map { Int64(clamping: $0 - min($0, HostClock.now())) } ?? -1
      guard let event = events.next(nanoseconds: left) else {
        throw MigrationFailure(.peerAbsent, "no sender came to \(listener.endpoint) in time (--wait)")
      }
      switch event {
      case .visitor(.source(let control, let hello)): return (control, hello)
      case .visitor(.dataChannel(let channel, _)): Self.refuse(channel, "there is no session to attach to")
      case .visitor(.refused(let failure)), .visitor(.listenerFailed(let failure)): throw failure
      case .cancel(let reason): throw MigrationFailure(.cancelled, reason)
      case .message, .controlEnded, .sending, .receiving, .digested: break
      }
    }
  }

  private static func refuse(_ channel: ControlChannel, _ reason: String) {
    try? channel.send(.reject(.init(code: FailureCode.refused.rawValue, reason: reason)))
    channel.connection.shutDown()
  }

  private func serve(
    _ control: ControlChannel, _ hello: ControlMessage.Hello
  ) throws(MigrationFailure) -> MigrationReport {
    clock.restart()
    live.withLock { live in
      live.hello = hello
      live.control = control.connection
    }
    logger.info("session \(hello.session): \(control.peer) (\(MigrationFailure.printable(hello.software)))")
    let blocks: BlockTable
    do throws(MigrationFailure) { blocks = try check(hello) } catch {
      try? control.send(.reject(.init(code: error.code.rawValue, reason: error.reason)))
      control.connection.finishSending()
      throw error
    }
    live.withLock { $0.blocks = blocks }
    let token = SessionIdentity.random()
    try control.send(
      .accept(.init(version: WireLimits.versions.upperBound, token: token, software: configuration.software)))
    control.connection.setTimeout(nil)
    let receiving = control.startReceiving { [events] result in
      switch result {
      case .success(let message): events.post(.message(message))
      case .failure(let failure): events.post(.controlEnded(failure))
      }
    }
    defer {
      control.connection.shutDown()
      receiving.join()
    }
    return try take(hello, blocks: blocks, token: token, control)
  }

  /// Whether this receiver can serve what the source declares.
  private func check(_ hello: ControlMessage.Hello) throws(MigrationFailure) -> BlockTable {
    let blocks: BlockTable
    do throws(BlockTableError) { blocks = try BlockTable(hello.blocks) } catch {
      throw MigrationFailure(.refused, "the declared RAM blocks are wrong: \(error)")
    }
    for raw in hello.codecs where CodecRegistry.codec(tag: CodecTag(rawValue: raw)) == nil {
      throw MigrationFailure(
        .codecUnknown, "codec number \(raw) is unknown here; upgrade this receiver or choose another")
    }
    if let expected = configuration.expectedBlocks, let difference = expected.difference(from: blocks) {
      throw MigrationFailure(.blocksDiffer, "RAM blocks differ: \(difference)")
    }
    guard blocks.byteCount <= configuration.memoryLimit else {
      throw MigrationFailure(
        .refused,
        "the guest has \(ByteCount.format(blocks.byteCount)), this receiver accepts "
          + "\(ByteCount.format(configuration.memoryLimit)) (--memory-limit)")
    }
    return blocks
  }

  // MARK: Migration

  private func take(
    _ hello: ControlMessage.Hello, blocks: BlockTable, token: SessionIdentity, _ control: ControlChannel
  ) throws(MigrationFailure) -> MigrationReport {
    var memory: (any DestinationMemory)?
    var pipeline: ReceivingPipeline?
    defer { pipeline?.stop() }
    do throws(MigrationFailure) {
      let channels = try gather(hello.channelCount, token: token, control)
      clock.apply(.accepted)
      let reserved: any DestinationMemory
      do throws(GuestMemoryError) { reserved = try makeMemory(blocks) } catch { throw MigrationFailure(output: error) }
      memory = reserved
      let started = ReceivingPipeline(
        memory: reserved, connections: channels, codecs: hello.codecs.map { CodecTag(rawValue: $0) },
        onEvent: { [events] in events.post(.receiving($0)) })
      pipeline = started
      live.withLock { $0.pipeline = started }
      started.start()
      try control.send(.reserved)
      clock.apply(.reserved)
      var tracker = IterationTracker(laneCount: hello.laneCount)
      let final = try receive(started, &tracker, control)
      clock.apply(.converged)
      try verify(final, reserved, started, tracker, control)
      try commit(reserved, started, tracker, control)
      return report(outcome: .completed)
    } catch {
      pipeline?.stop()
      memory?.discard()
      if let farewell = error.farewell { try? control.send(farewell) }
      return report(ending: error)
    }
  }

  /// Waits until every data channel has attached.
  private func gather(
    _ count: Int, token: SessionIdentity, _ control: ControlChannel
  ) throws(MigrationFailure) -> [Connection] {
    var channels = [Connection?](repeating: nil, count: count)
    let deadline = HostClock.now() + configuration.setupTimeout.nanoseconds
    while channels.contains(where: { $0 == nil }) {
      let left = Int64(clamping: deadline - min(deadline, HostClock.now()))
      guard let event = events.next(nanoseconds: left) else {
        throw MigrationFailure(
          .peerLost, "\(control.peer) opened \(channels.count { $0 != nil }) of its \(count) data channels in time")
      }
      guard case .visitor(.dataChannel(let visitor, let attach)) = event else {
        try handleCommon(event, control)
        continue
      }
      let index = Int(attach.channel) - 1
      guard attach.token == token, channels.indices.contains(index), channels[index] == nil else {
        logger.warning("\(visitor.peer) tried to attach to a session that it does not belong to; dropped")
        Self.refuse(visitor, "wrong token or channel")
        continue
      }
      visitor.connection.setTimeout(nil)
      try visitor.send(.attached)
      channels[index] = visitor.connection
    }
    return channels.compactMap { $0 }
  }

  /// Receives iterations until the source says that nothing more will come.
  private func receive(
    _ pipeline: ReceivingPipeline, _ tracker: inout IterationTracker, _ control: ControlChannel
  ) throws(MigrationFailure) -> ControlMessage.Final {
    while true {
      switch try nextEvent(pipeline, tracker, control) {
      case .message(.iterationBegin(let begin)): try tracker.begin(begin)
      case .message(.iterationEnd(let end)):
        try tracker.end(end, applied: pipeline.statistics)
        if tracker.isComplete { try control.send(ack(pipeline, tracker)) }
      case .message(.final(let final)):
        guard tracker.isComplete else {
          throw MigrationFailure(.protocolViolation, "\(control.peer) sent 'final' before an iteration was complete")
        }
        return final
      case .receiving(.laneDone(_, _, let iteration)):
        try tracker.laneDone(iteration, applied: pipeline.statistics)
        if tracker.isComplete { try control.send(ack(pipeline, tracker)) }
      case let event: try handleCommon(event, control)
      }
    }
  }

  /// Compares the digest of every block, and gets everything that can fail out of the way of the commit.
  private func verify(
    _ final: ControlMessage.Final, _ memory: any DestinationMemory, _ pipeline: ReceivingPipeline,
    _ tracker: IterationTracker, _ control: ControlChannel
  ) throws(MigrationFailure) {
    if !final.digests.isEmpty {
      let expected = final.digests.map { BlockDigest(low: $0.low, high: $0.high) }
      let found = try digests(of: memory, pipeline, tracker, control)
      guard expected.count == found.count else {
        throw MigrationFailure(
          .protocolViolation, "\(control.peer) sent \(expected.count) digests for \(found.count) blocks")
      }
      for (block, pair) in zip(memory.blocks.blocks, zip(expected, found)) where pair.0 != pair.1 {
        throw MigrationFailure(
          .digestMismatch, "RAM block '\(block.name)' differs: digest \(pair.1), the source has \(pair.0)")
      }
      live.withLock { $0.digests = found }
    }
    do throws(GuestMemoryError) { try memory.prepareToComplete() } catch { throw MigrationFailure(output: error) }
  }

  private func digests(
    of memory: any DestinationMemory, _ pipeline: ReceivingPipeline, _ tracker: IterationTracker,
    _ control: ControlChannel
  ) throws(MigrationFailure) -> [BlockDigest] {
    let check = DigestCheck(memory: memory, threadCount: configuration.digestThreadCount)
    check.start { [events] in events.post(.digested($0)) }
    defer { check.stop() }
    while true {
      switch try nextEvent(pipeline, tracker, control) {
      case .digested(.success(let found)): return found
      case .digested(.failure(let error)): throw MigrationFailure(output: error)
      case let event: try handleCommon(event, control)
      }
    }
  }

  private func commit(
    _ memory: any DestinationMemory, _ pipeline: ReceivingPipeline, _ tracker: IterationTracker,
    _ control: ControlChannel
  ) throws(MigrationFailure) {
    try control.send(.ready)
    while true {
      let event = try nextEvent(pipeline, tracker, control)
      if case .message(.commit) = event { break }
      try handleCommon(event, control)
    }
    clock.apply(.ready)
    do throws(GuestMemoryError) { try memory.complete() } catch { throw MigrationFailure(output: error) }
    clock.apply(.resumed)
    // From here on the guest is here, whether or not the source hears of it.
    try? control.send(.resumed)
    control.connection.finishSending()
    drain()
  }

  /// Lets the source close first, so that the last message is not lost to a reset.
  private func drain() {
    let deadline = HostClock.now() + SessionPatience.lastWords.nanoseconds
    while HostClock.now() < deadline {
      guard let event = events.next(nanoseconds: Int64(clamping: deadline - min(deadline, HostClock.now()))) else {
        return
      }
      if case .controlEnded = event { return }
    }
  }

  /// The next event; meanwhile the source hears from us every 100 ms.
  private func nextEvent(
    _ pipeline: ReceivingPipeline, _ tracker: IterationTracker, _ control: ControlChannel
  ) throws(MigrationFailure) -> SessionEvent {
    while true {
      if let event = events.next(nanoseconds: Int64(Self.ackInterval.nanoseconds)) { return event }
      try control.send(ack(pipeline, tracker))
    }
  }

  private func ack(_ pipeline: ReceivingPipeline, _ tracker: IterationTracker) -> ControlMessage {
    .ack(.init(completedIteration: tracker.completed, appliedFrameCounts: pipeline.appliedFrameCounts))
  }

  /// Events that mean the same in every phase.
  private func handleCommon(_ event: SessionEvent, _ control: ControlChannel) throws(MigrationFailure) {
    switch event {
    case .message(.error(let refusal)): throw MigrationFailure(refusal, peer: control.peer)
    case .message(.cancel(let reason)): throw .cancelled(byPeer: control.peer, reason: reason)
    case .message: throw MigrationFailure(.protocolViolation, "\(control.peer) sent a control message out of turn")
    case .controlEnded(let failure): throw failure
    case .receiving(.failed(let error)):
      let failure = MigrationFailure(error, with: control.peer, memory: MigrationFailure.init(output:))
      throw events.lastWords(explaining: failure, peer: control.peer)
    case .receiving(.laneDone): break
    case .cancel(let reason): throw MigrationFailure(.cancelled, reason)
    case .visitor(.source(let visitor, _)), .visitor(.dataChannel(let visitor, _)):
      logger.warning("\(visitor.peer) came while a migration is under way; refused")
      Self.refuse(visitor, "this receiver is busy with another migration")
    case .visitor(.refused), .visitor(.listenerFailed): break
    case .digested, .sending: break
    }
  }

  // MARK: The end

  private func report(ending failure: MigrationFailure) -> MigrationReport {
    let isCancel = failure.code == .cancelled || failure.code == .cancelledByPeer
    clock.apply(isCancel ? .cancel : .fail)
    var report = report(outcome: clock.phase)
    report.fail(failure, phase: clock.phase)
    return report
  }

  /// Where the migration stands.
  public var progress: MigrationProgress {
    let live = self.live.withLock { $0 }
    let applied = live.pipeline?.statistics
    return MigrationProgress(
      phase: clock.phase, peer: live.control?.peer ?? "", elapsedSeconds: Double(clock.elapsedNanoseconds) / 1e9,
      totalPages: UInt64(live.blocks?.pageCount ?? 0), notReadPages: 0, zeroPages: applied?.zeroPages ?? 0,
      dataPages: applied?.dataPages ?? 0,
      wireBytes: (live.pipeline?.receivedByteCount ?? 0) + (live.control?.receivedByteCount ?? 0))
  }

  private func report(outcome: Phase) -> MigrationReport {
    let now = progress
    let live = self.live.withLock { $0 }
    let applied = live.pipeline?.statistics ?? ReceivingStatistics()
    let seconds = clock.seconds
    let codecs = (live.hello?.codecs ?? []).compactMap { CodecRegistry.codec(tag: CodecTag(rawValue: $0))?.identity }
    let guestBytes = live.blocks?.byteCount ?? 0
    let channels = live.hello?.channelCount ?? 0
    return MigrationReport(
      role: .destination, outcome: outcome, session: live.hello.map { "\($0.session)" } ?? "", peer: now.peer,
      blocks: (live.blocks?.blocks ?? []).enumerated().map { index, block in
        .init(
          name: block.name, guestPhysicalBase: block.guestPhysicalBase, byteCount: block.byteCount,
          digest: live.digests.map { "\($0[index])" })
      },
      pages: .init(
        total: now.totalPages, notRead: now.totalPages - min(now.totalPages, now.zeroPages + now.dataPages),
        zero: now.zeroPages, data: now.dataPages),
      bytes: .init(
        guest: guestBytes, wire: now.wireBytes, guestPerSecond: Double(guestBytes) / max(seconds.total, 1e-9),
        wirePerSecond: Double(now.wireBytes) / max(seconds.active, 1e-9)),
      seconds: seconds,
      codec: .init(
        name: codecs.map { $0.name }.joined(separator: ","), library: codecs.map { $0.library }.joined(separator: ","),
        bytesIn: 0, bytesOut: 0, bypassedPages: 0, seconds: Double(applied.codecNanoseconds) / 1e9),
      channels: channels, lanes: live.hello?.laneCount ?? 0,
      resources: .current(
        bufferBytes: channels * ReceivingPipeline.channelBufferByteCount,
        memoryNanoseconds: applied.storeNanoseconds, blockedNanoseconds: 0))
  }
}
