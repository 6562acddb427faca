// SPDX-License-Identifier: Apache-2.0
import Convergence
public import GuestMemory
import HostSystem
import Lanes
import Logging
package import PageCodecs
import PageKernels
import PageModel
import Synchronization
import Transport
import Wire

/// The sending side of one migration, from hello to resumed.
///
/// ``run()`` does everything on the calling thread and its pipelines' threads; ``cancel(_:)`` and ``statistics`` may be
/// used from any other.
public final class SourceSession: Sendable {
  let guest: any Guest
  var memory: any SourceMemory { guest.memory }
  public let configuration: Configuration
  let clock = PhaseClock()
  let identity = SessionIdentity.random()
  let events = Mailbox<SessionEvent>()
  private let cancelled = Atomic<Bool>(false)
  /// The shortest answer of the setup, in nanoseconds.
  private let roundTrip = Atomic<UInt64>(.max)
  /// Why a paused guest could not be resumed here.
  private let notResumed = Mutex<GuestError?>(nil)
  let record = SourceRecord()
  let byteMeter = RateMeter()
  let pageMeter = RateMeter()
  let cacheBudget: CacheBudget
  let pacer: Pacer
  let controls: Controls
  private let opener = Mutex<ChannelOpener?>(nil)
  /// Where the number of channels may be changed, once pages flow.
  var channelOpener: ChannelOpener? { opener.withLock { $0 } }

  /// - Parameter guest: one that runs must have its memory mapped here.
  public init(guest: any Guest, configuration: Configuration) {
    precondition(guest.dirtyLog == nil || guest.memory.mapping != nil, "a running guest's memory must be mapped")
    self.guest = guest
    self.configuration = configuration
    cacheBudget = CacheBudget(
      configuration.deltaCache, guestByteCount: guest.memory.blocks.byteCount, laneCount: configuration.laneCount)
    pacer = Pacer(bytesPerSecond: configuration.bandwidthLimit)
    controls = Controls(configuration.settings)
  }

  var verifies: Bool { configuration.verify ?? (guest.dirtyLog == nil) }

  /// Asks the migration to end. Before the commit it ends as cancelled within a second, and the source is as it was;
  /// after it, the request is too late and does nothing.
  public func cancel(_ reason: String) {
    cancelled.store(true, ordering: .relaxed)
    events.post(.cancel(reason: reason))
    // In setup the session's thread may be waiting for an answer: end that wait.
    if clock.phase == .setup { record.shutDown() }
  }

  /// Migrates.
  /// - Returns: the report of a completed migration, or of one that did not complete and why.
  public func run() -> MigrationReport {
    clock.restart()
    do throws(MigrationFailure) {
      let (control, accept) = try setUp()
      let vigil = Vigil(limit: .seconds(configuration.socketOptions.deadPeerSeconds))
      let receiving = control.startReceiving(into: events, vigil: vigil)
      defer {
        control.connection.shutDown()
        events.close()
        receiving.join()
      }
      return migrate(control, accept, vigil)
    } catch {
      return end(error, control: nil)
    }
  }

  // MARK: Setup

  private func setUp() throws(MigrationFailure) -> (ControlChannel, ControlMessage.Accept) {
    let control = ControlChannel(try connect())
    control.connection.setTimeout(ControlChannel.answerLimit)
    let accept = try introduce(control)
    for channel in 1...configuration.channelCount {
      let data = ControlChannel(try connect())
      let asked = HostClock.now()
      try data.attach(accept, number: channel) { () throws(MigrationFailure) in try answer(from: data) }
      roundTrip.store(min(roundTrip.load(ordering: .relaxed), HostClock.now() - asked), ordering: .relaxed)
    }
    control.establish(
      sendLimit: .seconds(configuration.socketOptions.deadPeerSeconds),
      isCancelled: { self.cancelled.load(ordering: .relaxed) && self.clock.phase != .commit })
    clock.apply(.accepted)
    return (control, accept)
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
    record.add(connection)
    if cancelled.load(ordering: .relaxed) { throw cancellation() }
    return connection
  }

  private func introduce(_ control: ControlChannel) throws(MigrationFailure) -> ControlMessage.Accept {
    let hello = ControlMessage.Hello(
      session: identity, channelCount: configuration.channelCount, laneCount: configuration.laneCount,
      features: features,
      codecs: offeredTags.map { $0.rawValue }, historyLog: historyLog, software: configuration.software,
      blocks: memory.blocks.blocks)
    return try control.introduce(hello) { () throws(MigrationFailure) in try answer(from: control) }
  }

  /// What frames may be encoded with: of a guest that runs, whatever this side knows, so that it may be changed later;
  /// what needs a history only if one is kept anyway.
  var offeredTags: [CodecTag] {
    guard guest.dirtyLog != nil else { return configuration.codec.tags }
    return CodecRegistry.offered(hasHistory: historyLog > 0)
  }

  private var features: SessionFeatures {
    guard guest.dirtyLog == nil else { return [.deltas, .runningGuest, .lanesMove] }
    return verifies ? [.unsummedData, .digests] : .unsummedData
  }

  /// What a lane may look back over, as a base-2 logarithm: its share of the allowance, but no more than it will send.
  var historyLog: UInt8 {
    Self.historyLog(
      configuration.codec, historyByteCount: configuration.historyByteCount, guestByteCount: memory.blocks.byteCount,
      laneCount: configuration.laneCount)
  }

  /// - Parameter historyByteCount: what all lanes together may look back over.
  package static func historyLog(
    _ codec: CodecPolicy, historyByteCount: UInt64, guestByteCount: UInt64, laneCount: Int
  ) -> UInt8 {
    guard codec.choices.contains(where: { $0.hasHistory }) else { return 0 }
    let laneBytes = guestByteCount / UInt64(laneCount)
    let share = min(historyByteCount / UInt64(laneCount), laneBytes * 2)
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
    MigrationFailure(.cancelled, events.takeCancel() ?? "cancelled")
  }

  // MARK: Migration

  private func migrate(
    _ control: ControlChannel, _ accept: ControlMessage.Accept, _ vigil: Vigil
  ) -> MigrationReport {
    let steering = Steering(
      guest: guest, controls: controls, record: record, clock: clock, pacer: pacer,
      logger: configuration.logger)
    do throws(MigrationFailure) {
      let dialogue = SourceDialogue(
        control: control, vigil: vigil, events: events, clock: clock, steering: steering,
        explain: { [configuration] in
          MigrationFailure($0, with: "\(configuration.endpoint)", memory: MigrationFailure.init(input:))
        }, letRun: { _ = self.letGuestRun() })
      // While the destination reserves memory, the log already learns which pages are hot.
      let loggedSince = HostClock.now()
      do throws(GuestMemoryError) { try guest.dirtyLog?.start() } catch { throw MigrationFailure(input: error) }
      try dialogue.wait(for: .reserved)
      clock.apply(.reserved)
      let pending = try pendingPages()
      let heat = SpanHeat(memory.blocks)
      let meter = guest.dirtyLog.map {
        DirtyMeter($0, pending: pending, blocks: memory.blocks, now: HostClock.now())
      }
      let pipeline = try makePipeline(pending, heat, meter?.sample, dialogue)
      if guest.dirtyLog != nil {
        let opener = ChannelOpener(
          pipeline, controls: controls, record: record, accept: accept, configuration: configuration)
        self.opener.withLock { $0 = opener }
        // It may have been changed already.
        opener.follow()
      }
      steering.begin(pipeline, meter: meter)
      var preCopy = PreCopy(
        guest: guest, pending: pending, heat: heat, pipeline: pipeline, dialogue: dialogue, record: record,
        steering: steering, roundTrip: roundTrip.load(ordering: .relaxed), loggedSince: loggedSince)
      try preCopy.run()
      clock.apply(.converged)
      let switchover = Switchover(
        guest: guest, pipeline: pipeline, dialogue: dialogue, record: record, verify: verifies,
        limit: guest.dirtyLog == nil ? nil : configuration.switchoverLimit)
      try switchover.run(&preCopy)
      // The guest runs at the destination: now there is time. Everything is acknowledged, so no thread is in the middle
      // of anything. After a failure it is end() that stops the pipeline, connections first: a sender may be waiting
      // for a peer that does not read.
      channelOpener?.stop()
      pipeline.stop(keepConnections: true)
      guest.dirtyLog?.stop()
      steering.release()
      return report(.completed)
    } catch {
      // At once: the guest may be slow because of us, and what follows can take a second.
      steering.release()
      return end(error, control: control)
    }
  }

  /// What the bulk stage has to look at: all pages but those that are known to be zero, or unused by the guest's word.
  private func pendingPages() throws(MigrationFailure) -> [SpanMap] {
    var pending: [SpanMap] = []
    do throws(GuestMemoryError) {
      for block in memory.blocks.blocks.indices {
        let map: SpanMap
        if let known = guest.dirtyLog?.populatedPages(block: block) {
          map = known
        } else {
          map = try memory.presentPages(block: block)
        }
        // A free page has no content to compare.
        if !verifies, let free = guest.freePages(block: block) { map.subtract(free) }
        pending.append(map)
      }
    } catch { throw MigrationFailure(input: error) }
    return pending
  }

  private func makePipeline(
    _ pending: [SpanMap], _ heat: SpanHeat, _ sample: DirtySample?, _ dialogue: SourceDialogue
  ) throws(MigrationFailure) -> SendingPipeline {
    let data = Array(record.now.connections.dropFirst())
    var live: SendingPipeline.Live?
    if let log = guest.dirtyLog, let mapping = memory.mapping {
      live = .init(
        memory: .mapped(mapping), log: log, heat: heat, sample: sample, cacheBudget: cacheBudget,
        seed: SessionIdentity.random().low)
    }
    let placement = configuration.placement.plan(interface: data.first?.interfaceName) { request in
      request.laneCount = configuration.laneCount
      request.channelCount = data.count
      request.noteBlocks(memory.blocks) { memory.mapping?.homeNode(block: $0) }
    }
    let pipeline: SendingPipeline
    do throws(LaneError) {
      pipeline = try SendingPipeline(
        memory: memory, pending: pending, connections: data,
        configuration: .init(
          laneCount: configuration.laneCount, codec: configuration.codec,
          historyByteCount: historyLog == 0 ? 0 : 1 << Int(historyLog),
          wantsDigests: verifies && live == nil, sendsUnsummed: live == nil, live: live,
          pacer: pacer, cpuCount: placement.allowance.workerCount,
          placement: placement, zeroCopy: configuration.zeroCopy),
        onEvent: { [events] in events.post(.sending($0)) })
    } catch { throw dialogue.explain(error) }
    let present = pending.reduce(0) { $0 + $1.count() }
    let unread = memory.blocks.pageCount - min(present, memory.blocks.pageCount)
    record.note(pipeline, notReadPages: UInt64(unread), pendingPages: present)
    pipeline.start()
    return pipeline
  }

  // MARK: The end

  /// Ends a migration that did not complete: the guest runs on here if it is ours, the peer is told, everything closed.
  private func end(_ failure: MigrationFailure, control: ControlChannel?) -> MigrationReport {
    // A cancel in the setup shuts connections down, and what waits for them only sees that.
    let isCancelled = cancelled.load(ordering: .relaxed) && failure.code == .peerLost && !failure.isFromPeer
    let failure = isCancelled && clock.phase != .commit ? cancellation() : failure
    var final = failure
    if clock.phase == .commit {
      final = afterCommit(failure)
    } else if let error = letGuestRun() {
      final = MigrationFailure(
        .guestFailed, "\(failure.reason); and the guest, which was paused, could not be resumed here: \(error)")
    }
    if let control, let farewell = final.farewell {
      try? control.send(farewell, within: SessionPatience.lastWords)
    }
    channelOpener?.stop()
    record.shutDown()
    record.now.pipeline?.stop()
    guest.dirtyLog?.stop()
    clock.apply(final.finalPhase == .cancelled ? .cancel : .fail)
    var report = report(clock.phase)
    report.fail(final, phase: clock.phase)
    return report
  }

  /// Lets a guest run on that is paused and ours: the first thing to do after a failure, everything else can wait.
  /// - Returns: why it could not; it is asked once.
  private func letGuestRun() -> GuestError? {
    if let error = notResumed.withLock({ $0 }) { return error }
    guard record.isPaused, clock.phase != .commit else { return nil }
    do throws(GuestError) { try guest.resume() } catch {
      notResumed.withLock { $0 = error }
      return error
    }
    record.noteRunsAgain()
    return nil
  }

  /// After the commit the source never runs the guest by itself.
  private func afterCommit(_ failure: MigrationFailure) -> MigrationFailure {
    let paused = guest.dirtyLog == nil ? "" : "; it stays paused here"
    if failure.isFromPeer {
      return MigrationFailure(failure.code, failure.reason + paused, isFromPeer: true)
    }
    return MigrationFailure(
      .outcomeUnknown,
      "the connection was lost after the commit (\(failure.reason)): \(configuration.endpoint) may hold the guest; "
        + "look there before anything else is started\(paused)")
  }
}
