// SPDX-License-Identifier: Apache-2.0
public import GuestMemory
import HostSystem
public import Lanes
public import Logging
import PageCodecs
import PageKernels
public import PageModel
import Synchronization
public import Transport
import Wire

/// The receiving side of one migration: waits for a source, takes its guest's memory, and makes it its own at commit.
///
/// ``run()`` does everything on the calling thread and its pipelines' threads; ``cancel(_:)`` and ``statistics`` may be
/// used from any other.
public final class DestinationSession: Sendable {
  /// Makes the guest, and the memory for the blocks that a source declares.
  public typealias GuestMaker = @Sendable (BlockTable) throws(GuestMemoryError) -> any IncomingGuest

  /// What an operator decides.
  public struct Configuration: Sendable {
    /// How long to wait for a source; nil for ever.
    public var waitLimit: Duration?
    /// The blocks that the guest must have; nil takes any.
    public var expectedBlocks: BlockTable?
    /// Most guest memory to accept, in bytes.
    public var memoryLimit: UInt64
    /// Most memory for codecs with a history, in bytes.
    public var historyLimit: UInt64
    /// How long the source may take to open its data channels.
    public var setupTimeout: Duration
    /// The longest silence of the source after that.
    public var silenceLimit: Duration
    /// Whether what arrives can be run: else a guest that runs is refused before anything is sent.
    public var runsGuests: Bool
    /// Threads per data channel that decode where its own thread falls behind; nil: by what CPUs channels leave free.
    public var decoderCount: Int?
    /// Threads that verify the digest.
    public var digestThreadCount: Int
    /// Where worker threads run.
    public var placement: PlacementOptions
    /// Program and version, for the peer's log.
    public var software: String

    public init(
      waitLimit: Duration? = nil, expectedBlocks: BlockTable? = nil, memoryLimit: UInt64 = BlockTable.totalByteCountMax,
      historyLimit: UInt64 = 1 << 30, setupTimeout: Duration = .seconds(10), silenceLimit: Duration = .seconds(15),
      runsGuests: Bool = false, decoderCount: Int? = nil, digestThreadCount: Int = 2,
      placement: PlacementOptions = .init(), software: String
    ) {
      self.waitLimit = waitLimit
      self.expectedBlocks = expectedBlocks
      self.memoryLimit = memoryLimit
      self.historyLimit = historyLimit
      self.setupTimeout = setupTimeout
      self.silenceLimit = silenceLimit
      self.runsGuests = runsGuests
      self.decoderCount = decoderCount
      self.digestThreadCount = max(1, digestThreadCount)
      self.placement = placement
      self.software = software
    }
  }

  private let listener: Listener
  private let makeGuest: GuestMaker
  private let configuration: Configuration
  private let logger: Logger
  private let clock = PhaseClock()
  private let events = Mailbox<SessionEvent>()
  private let byteMeter = RateMeter()
  private let pageMeter = RateMeter()
  private let live = Mutex(Live())

  /// What other threads look at.
  private struct Live {
    var hello: ControlMessage.Hello?
    var blocks: BlockTable?
    var control: Connection?
    var pipeline: ReceivingPipeline?
    var digests: [BlockDigest]?
  }

  public init(listener: Listener, configuration: Configuration, logger: Logger, makeGuest: @escaping GuestMaker) {
    self.listener = listener
    self.configuration = configuration
    self.logger = logger
    self.makeGuest = makeGuest
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
      case .visitor(.dataChannel(let channel, _)): channel.refuse("there is no session to attach to")
      case .visitor(.refused(let failure)), .visitor(.listenerFailed(let failure)): throw failure
      case .cancel(let reason): throw MigrationFailure(.cancelled, reason)
      case .message, .controlEnded, .failed, .sending, .receiving, .digested, .steer: break
      }
    }
  }

  private func serve(
    _ control: ControlChannel, _ hello: ControlMessage.Hello
  ) throws(MigrationFailure) -> MigrationReport {
    clock.restart()
    byteMeter.restart()
    pageMeter.restart()
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
    try control.send(hello.acceptance(token: token, software: configuration.software))
    control.establish(sendLimit: configuration.silenceLimit)
    let vigil = Vigil(limit: configuration.silenceLimit)
    let receiving = control.startReceiving(into: events, vigil: vigil)
    defer {
      control.connection.shutDown()
      events.close()
      receiving.join()
    }
    return try take(hello, blocks: blocks, token: token, control, vigil)
  }

  /// Whether this receiver can serve what the source declares.
  private func check(_ hello: ControlMessage.Hello) throws(MigrationFailure) -> BlockTable {
    let blocks: BlockTable
    do throws(BlockTableError) { blocks = try BlockTable(hello.blocks) } catch {
      throw MigrationFailure(.refused, "the declared RAM blocks are wrong: \(error)")
    }
    guard !hello.features.contains(.relay) else {
      throw MigrationFailure(.refused, "this is no proxy of a hypervisor ('pageferry proxy destination')")
    }
    try hello.checkCodecs()
    if let expected = configuration.expectedBlocks, let difference = expected.difference(from: blocks) {
      throw MigrationFailure(.blocksDiffer, "RAM blocks differ: \(difference)")
    }
    guard !hello.features.contains(.lanesMove) || hello.lanesCanMove else {
      throw MigrationFailure(
        .protocolViolation, "lanes are to move between channels, of a guest that does not run or with digests")
    }
    guard configuration.runsGuests || !hello.features.contains(.runningGuest) else {
      throw MigrationFailure(.refused, "the guest runs, and this receiver only keeps memory: it would be lost here")
    }
    guard blocks.byteCount <= configuration.memoryLimit else {
      throw MigrationFailure(
        .refused,
        "the guest has \(ByteCount.format(blocks.byteCount)), this receiver accepts "
          + "\(ByteCount.format(configuration.memoryLimit)) (--memory-limit)")
    }
    guard UInt64(hello.historyByteCount) <= configuration.historyLimit else {
      throw MigrationFailure(
        .refused,
        "its codec would hold \(ByteCount.format(UInt64(hello.historyByteCount))) here for what it has sent, this receiver "
          + "allows \(ByteCount.format(configuration.historyLimit)): raise --history-limit here, or lower --history there"
      )
    }
    return blocks
  }

  // MARK: Migration

  private func take(
    _ hello: ControlMessage.Hello, blocks: BlockTable, token: SessionIdentity, _ control: ControlChannel,
    _ vigil: Vigil
  ) throws(MigrationFailure) -> MigrationReport {
    var guest: (any IncomingGuest)?
    var pipeline: ReceivingPipeline?
    defer { pipeline?.stop() }
    do throws(MigrationFailure) {
      let channels = try events.gather(
        hello.channelCount, token: token, peer: control.peer, within: configuration.setupTimeout,
        refuse: { Intake.refuse($0, logger) },
        handle: { (event) throws(MigrationFailure) in
          try Intake.handleCommon(event, control: control, events: events, logger: logger)
        })
      clock.apply(.accepted)
      let arriving: any IncomingGuest
      do throws(GuestMemoryError) { arriving = try makeGuest(blocks) } catch { throw MigrationFailure(output: error) }
      guest = arriving
      let decoderCount =
        configuration.decoderCount
        ?? ReceivingPipeline.decoderCount(
          workerCount: configuration.placement.allowance.workerCount, channelCount: channels.count)
      let placement = configuration.placement.plan(interface: channels.first?.interfaceName) { request in
        request.receiverCount = channels.count
        request.decoderCount = decoderCount
        request.noteBlocks(blocks) { arriving.memory.homeNode(block: $0) }
      }
      let started = ReceivingPipeline(
        memory: arriving.memory, connections: channels,
        session: hello.session, decoderCount: decoderCount, placement: placement,
        onEvent: { [events] in events.post(.receiving($0)) })
      pipeline = started
      live.withLock { $0.pipeline = started }
      started.start()
      try control.send(.reserved)
      clock.apply(.reserved)
      var intake = Intake(
        control: control, pipeline: started, memory: arriving.memory, events: events, vigil: vigil, logger: logger,
        laneCount: hello.laneCount, token: token)
      let final = try intake.receiveIterations()
      clock.apply(.converged)
      let received = HostClock.now()
      let digests = try intake.verify(final, threadCount: configuration.digestThreadCount)
      live.withLock { $0.digests = digests }
      let verified = HostClock.now()
      do throws(GuestError) { try arriving.loadState(final.guestState) } catch {
        throw MigrationFailure(.guestRefused, "the guest's state cannot be loaded: \(error)")
      }
      try intake.awaitCommit(
        .init(verifyNanoseconds: verified - received, loadNanoseconds: HostClock.now() - verified))
      let committed = HostClock.now()
      clock.apply(.ready)
      try run(arriving)
      clock.apply(.resumed)
      intake.sayResumed(after: HostClock.now() - committed)
      return report(outcome: .completed)
    } catch {
      // First of all: a guest may be paused over there.
      if let farewell = error.farewell { try? control.send(farewell, within: SessionPatience.lastWords) }
      pipeline?.stop()
      guest?.memory.discard()
      return report(ending: error)
    }
  }

  /// The guest is ours: nothing that could wait comes before it runs.
  private func run(_ guest: any IncomingGuest) throws(MigrationFailure) {
    do throws(GuestMemoryError) { try guest.memory.complete() } catch { throw MigrationFailure(output: error) }
    do throws(GuestError) { try guest.resume() } catch {
      throw MigrationFailure(.guestRefused, "the guest could not be resumed: \(error)")
    }
  }

  // MARK: The end

  private func report(ending failure: MigrationFailure) -> MigrationReport {
    clock.apply(failure.finalPhase == .cancelled ? .cancel : .fail)
    var report = report(outcome: clock.phase)
    report.fail(failure, phase: clock.phase)
    return report
  }

}

// MARK: - What is known

extension DestinationSession {
  /// Where the migration stands.
  public var statistics: MigrationStatistics {
    let live = self.live.withLock { $0 }
    let applied = live.pipeline?.statistics ?? ReceivingStatistics()
    let seconds = clock.seconds
    let total = live.blocks?.pageCount ?? 0
    let wire = (live.pipeline?.receivedByteCount ?? 0) + (live.control?.receivedByteCount ?? 0)
    var ram = MigrationStatistics.RAM()
    ram.transferred = wire
    ram.total = live.blocks?.byteCount ?? 0
    ram.duplicate = applied.zeroPages
    ram.normal = applied.dataPages
    ram.normalBytes = applied.dataPages * 4096
    ram.mbps = byteMeter.rate(wire) * 8 / 1e6
    ram.pagesPerSecond = pageMeter.rate(applied.zeroPages + applied.dataPages + applied.deltaPages)
    ram.precopyBytes = wire
    var pages = MigrationStatistics.Pages()
    pages.total = UInt64(total)
    pages.zero = applied.zeroPages
    pages.data = applied.dataPages
    pages.delta = applied.deltaPages
    return MigrationStatistics(
      status: clock.phase, totalTime: seconds.total * 1000,
      setupTime: (seconds.setup + seconds.reservation) * 1000, ram: ram, peer: live.control?.peer ?? "", pages: pages,
      channels: live.pipeline?.channelCountInUse ?? live.hello?.channelCount ?? 0)
  }

  private func report(outcome: Phase) -> MigrationReport {
    let now = statistics
    var pages = now.pages
    pages.notRead = pages.total - min(pages.total, pages.zero + pages.data)
    let live = self.live.withLock { $0 }
    let applied = live.pipeline?.statistics ?? ReceivingStatistics()
    let seconds = clock.seconds
    let codecs = (live.hello?.codecs ?? []).compactMap { CodecRegistry.codec(tag: CodecTag(rawValue: $0))?.identity }
    let guestBytes = live.blocks?.byteCount ?? 0
    return MigrationReport(
      role: .destination, outcome: outcome, session: live.hello.map { "\($0.session)" } ?? "", peer: now.peer,
      blocks: (live.blocks?.blocks ?? []).enumerated().map { index, block in
        .init(
          name: block.name, guestPhysicalBase: block.guestPhysicalBase, byteCount: block.byteCount,
          digest: live.digests.map { "\($0[index])" })
      },
      pages: pages,
      bytes: .init(
        guest: guestBytes, wire: now.ram.transferred, guestPerSecond: Double(guestBytes) / max(seconds.total, 1e-9),
        wirePerSecond: Double(now.ram.transferred) / max(seconds.active, 1e-9)),
      seconds: seconds,
      codec: .init(
        name: codecs.map { $0.name }.joined(separator: ","), library: codecs.map { $0.library }.joined(separator: ","),
        bytesIn: 0, bytesOut: 0, bypassedPages: 0, seconds: Double(applied.codecNanoseconds) / 1e9),
      channels: now.channels, lanes: live.hello?.laneCount ?? 0,
      resources: .current(
        cpuNanoseconds: clock.cpuNanoseconds,
        bufferBytes: live.pipeline?.bufferByteCount ?? 0,
        historyBytes: live.hello?.historyByteCount ?? 0,
        memoryNanoseconds: applied.storeNanoseconds, blockedNanoseconds: 0),
      placement: live.pipeline.map { .init($0.placement) },
      decoders: live.pipeline.map { .init(perChannel: $0.decoderCount, frames: applied.handedFrames) })
  }
}
