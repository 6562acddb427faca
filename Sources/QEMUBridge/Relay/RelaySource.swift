// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import HostSystem
public import Lanes
import Logging
import Migration
public import PageCodecs
import PageModel
import Synchronization
public import Transport
import Wire

/// The half of a proxy pair beside the source hypervisor: takes its migration stream, and carries it to the other half.
///
/// ``run()`` serves one connection of the hypervisor, on the calling thread and threads of its own. Any failure shuts the
/// hypervisor's socket down at once: its guest runs on there. See docs/QEMU.md and the protocol in docs/WIRE.md.
public final class RelaySource: Sendable {
  /// What an operator decides.
  public struct Configuration: Sendable {
    /// The other half.
    public var endpoint: Endpoint
    public var socketOptions: SocketOptions
    public var connectTimeout: Duration
    public var channelCount: Int
    public var laneCount: Int
    public var codec: CodecPolicy
    public var deltaCache: CacheBudget.Size
    /// Wire bytes per second; 0: no limit.
    public var bandwidthLimit: UInt64
    /// Keep every page that was sent: as much memory as the guest uses, and XBZRLE deltas of the hypervisor can be read.
    public var keepsAll: Bool
    public var placement: PlacementOptions
    /// Program and version, for the peer's log.
    public var software: String

    public init(
      endpoint: Endpoint, socketOptions: SocketOptions = .init(), connectTimeout: Duration = .seconds(10),
      channelCount: Int = 2, laneCount: Int = 2, codec: CodecPolicy = .none,
      deltaCache: CacheBudget.Size = .automatic, bandwidthLimit: UInt64 = 0, keepsAll: Bool = false,
      placement: PlacementOptions = .init(), software: String
    ) {
      self.endpoint = endpoint
      self.socketOptions = socketOptions
      self.connectTimeout = connectTimeout
      self.channelCount = channelCount
      self.laneCount = max(laneCount, channelCount)
      self.codec = codec
      self.deltaCache = deltaCache
      self.bandwidthLimit = bandwidthLimit
      self.keepsAll = keepsAll
      self.placement = placement
      self.software = software
    }
  }

  private static let answerLimit = Duration.seconds(30)
  /// What codecs with a history look back over, all lanes together.
  private static let historyByteCount: UInt64 = 64 << 20
  /// At least so long between two iterations: their marks and acknowledgements cost as much as some pages.
  private static let pauseNanoseconds: UInt64 = 2_000_000

  private let hypervisor: Connection
  private let siblings: Siblings
  let configuration: Configuration
  private let logger: Logger
  private let events = Mailbox<SessionEvent>()
  private let news = ParkingSpot()
  private let produced = ParkingSpot()
  private let producedIteration = Atomic<UInt32>(0)
  private let stopped = Atomic<Bool>(false)
  private let cancelled = Atomic<Bool>(false)
  let window: RelayWindow
  let stream: DepartingStream
  let state = Mutex(State())
  let startedAt = HostClock.now()

  /// What is known of it. Anyone reads.
  struct State {
    var phase = Phase.setup
    var mode = RelayReport.Mode.verbatim
    var connections: [Connection] = []
    var pipeline: SendingPipeline?
    var memory: DepartingMemory?
    var guestByteCount: UInt64 = 0
    var endedAt: UInt64?
    /// Iterations begun, and bytes handed to `relay` so far.
    var iteration: UInt32 = 0
    var relayed: UInt64 = 0
    /// What is under way, the oldest first: everything before `position` is confirmed once both have come.
    var underWay: [(position: UInt64, iteration: UInt32, relayed: UInt64)] = []
    var confirmedIteration: UInt32 = 0
    var taken: UInt64 = 0
    /// The hypervisor has sent all that it had to say.
    var streamHasEnded = false
    var failure: MigrationFailure?
  }

  /// - Parameters:
  ///   - hypervisor: the connection that it has made; from now on this session's.
  ///   - siblings: its others.
  init(hypervisor: Connection, siblings: Siblings, configuration: Configuration, logger: Logger) {
    self.hypervisor = hypervisor
    self.siblings = siblings
    self.configuration = configuration
    self.logger = logger
    window = RelayWindow()
    stream = DepartingStream(window, news: news, warn: { [logger] in logger.warning("\($0)") })
  }

  /// Asks it to end: the hypervisor sees its migration fail, and its guest runs on.
  public func cancel(_ reason: String) {
    cancelled.store(true, ordering: .relaxed)
    events.post(.cancel(reason: reason))
    hypervisor.shutDown()
    // In setup its thread may be waiting for an answer.
    let (phase, connections) = state.withLock { ($0.phase, $0.connections) }
    if phase == .setup { for connection in connections { connection.shutDown() } }
  }

  /// Carries the stream.
  public func run() -> RelayReport {
    var control: ControlChannel?
    var failure: MigrationFailure?
    do throws(MigrationFailure) { try carry(&control) } catch {
      // What waits only sees that connections are gone.
      failure = takeCancel().map { MigrationFailure(.cancelled, $0) } ?? error
    }
    if let failure {
      // At once: it may be blocked in a write, with its guest paused.
      hypervisor.shutDown()
      if let control, let farewell = failure.farewell { try? control.send(farewell, within: SessionPatience.lastWords) }
    }
    stop()
    let isCancel = failure?.code == .cancelled || failure?.code == .cancelledByPeer
    state.withLock { state in
      state.phase = failure == nil ? .completed : isCancel ? .cancelled : .failed
      state.failure = failure
      state.endedAt = HostClock.now()
    }
    return report
  }

  private func stop() {
    stopped.store(true, ordering: .relaxed)
    window.stop()
    news.wake()
    produced.wake()
    let (connections, pipeline) = state.withLock { ($0.connections, $0.pipeline) }
    for connection in connections { connection.shutDown() }
    pipeline?.stop()
    events.close()
  }

  private var isStopped: Bool { stopped.load(ordering: .relaxed) }

  // MARK: Setup

  private func carry(_ established: inout ControlChannel?) throws(MigrationFailure) {
    let isMain = try recognise()
    defer { if isMain { siblings.noteOver() } }
    let hasOthers = isMain && siblings.hasOthers()
    if hasOthers { logger.warning("the hypervisor has made several connections (multifd): all is passed on as it is") }
    let opening = isMain && !hasOthers ? try stream.open(hypervisor) : stream.openVerbatim(hypervisor)
    if !isMain, !siblings.awaitMain() {
      throw MigrationFailure(.hypervisorFailed, "a connection came without the stream that it belongs to")
    }
    if let reason = takeCancel() { throw MigrationFailure(.cancelled, reason) }
    if !stream.hasReturnPath, opening.blocks != nil {
      logger.warning(
        "the hypervisor has no return path: it will not hear whether its guest has arrived; set return-path on both sides"
      )
    }
    let blocks = try opening.blocks.map { (blocks) throws(MigrationFailure) in try Self.table(blocks) }
    let control = ControlChannel(try connect())
    established = control
    control.connection.setTimeout(Self.answerLimit)
    let token = try introduce(control, blocks)
    let data = try blocks == nil ? [] : attach(token)
    try control.send(.relay(.init(afterIteration: 0, bytes: opening.bytes)))
    state.withLock { state in
      state.relayed = UInt64(opening.bytes.count)
      state.underWay = [(UInt64(opening.bytes.count), 0, UInt64(opening.bytes.count))]
    }
    try awaitReserved(control)
    state.withLock { $0.phase = .active }
    if isMain { siblings.noteMainIsOpen() }
    control.establish(sendLimit: .seconds(configuration.socketOptions.deadPeerSeconds))
    let vigil = Vigil(limit: .seconds(configuration.socketOptions.deadPeerSeconds))
    let pipeline = try blocks.map { (blocks) throws(MigrationFailure) in try makePipeline(blocks, data) }
    let memory = state.withLock { $0.memory }
    let threads = [
      control.startReceiving(into: events, vigil: vigil),
      HostThread(name: "pf-stream") { [self] in
        stream.run(into: memory)
        events.post(.steer)
      },
      HostThread(name: "pf-relay") { [self] in pump(control, memory, pipeline) },
    ]
    defer {
      stop()
      hypervisor.shutDown()
      for thread in threads { thread.join() }
    }
    do throws(MigrationFailure) { try converse(control, vigil) } catch {
      hypervisor.shutDown()
      if let farewell = error.farewell { try? control.send(farewell, within: SessionPatience.lastWords) }
      throw error
    }
  }

  /// Waits until pages may come; the hypervisor may answer before that.
  private func awaitReserved(_ control: ControlChannel) throws(MigrationFailure) {
    while true {
      switch try answer(control) {
      case .reserved: return
      case .relay(let relay): try pass(relay.bytes)
      case .relayTaken(let byteCount): settle { $0.taken = max($0.taken, byteCount) }
      default: throw MigrationFailure(.protocolViolation, "\(control.peer) did not say 'reserved'")
      }
    }
  }

  /// Hands an answer to the hypervisor.
  private func pass(_ bytes: [UInt8]) throws(MigrationFailure) {
    do throws(TransportError) { try hypervisor.send(bytes) } catch {
      throw MigrationFailure(.hypervisorFailed, "the hypervisor does not take its answers: \(error)")
    }
  }

  /// Whether this connection has the stream: by its first bytes, once they have come. One that stays silent while another
  /// has the stream is for later (postcopy's, that preempts), and needs to be there.
  private func recognise() throws(MigrationFailure) -> Bool {
    var first = [UInt8](repeating: 0, count: 4)
    hypervisor.setTimeouts(receive: .milliseconds(100), send: nil)
    defer { hypervisor.setTimeouts(receive: nil, send: nil) }
    var silences = 0
    while true {
      let got: Int?
      do throws(TransportError) {
        got = try hypervisor.peek(into: &first)
      } catch {
        if let reason = takeCancel() { throw MigrationFailure(.cancelled, reason) }
        throw MigrationFailure(.hypervisorFailed, "the hypervisor's connection: \(error)")
      }
      switch got {
      case 0: throw MigrationFailure(.hypervisorFailed, "the hypervisor has connected and closed without a word")
      case nil:
        silences += 1
        if siblings.mainIsOpen, silences > 3 { return false }
      case .some(4...): return first == Array("QEVM".utf8)
      // A word that is still coming.
      default: HostClock.sleep(nanoseconds: 1_000_000)
      }
    }
  }

  private func takeCancel() -> String? {
    while let event = events.next(nanoseconds: 0) {
      if case .cancel(let reason) = event { return reason }
    }
    return nil
  }

  /// The hypervisor's blocks, as the lanes count memory.
  private static func table(_ blocks: [StreamBlock]) throws(MigrationFailure) -> BlockTable {
    var base: UInt64 = 0
    let list = blocks.map { block in
      defer { base += block.byteCount }
      return RAMBlock(name: block.name, guestPhysicalBase: base, byteCount: block.byteCount)
    }
    do throws(BlockTableError) { return try BlockTable(list) } catch {
      throw MigrationFailure(.hypervisorFailed, "the hypervisor's RAM blocks are wrong: \(error)")
    }
  }

  private func connect() throws(MigrationFailure) -> Connection {
    let dialer = Dialer(endpoint: configuration.endpoint, options: configuration.socketOptions)
    do throws(TransportError) {
      let connection = try dialer.connect(
        within: configuration.connectTimeout, isCancelled: { self.isStopped || self.cancelled.load(ordering: .relaxed) }
      )
      state.withLock { $0.connections.append(connection) }
      return connection
    } catch { throw MigrationFailure(connecting: error) }
  }

  private func introduce(
    _ control: ControlChannel, _ blocks: BlockTable?
  ) throws(MigrationFailure) -> ControlMessage.Accept {
    let historyLog = historyLog(blocks)
    let codecs = CodecRegistry.all.filter { historyLog > 0 || !($0 is any HistoryCodec.Type) }
      .map { $0.identity.tag.rawValue }
    let asked = HostClock.now()
    try control.send(
      .hello(
        .init(
          session: .random(), channelCount: configuration.channelCount, laneCount: configuration.laneCount,
          features: blocks == nil ? .relay : [.relay, .deltas], codecs: codecs, historyLog: historyLog,
          software: configuration.software,
          blocks: blocks?.blocks ?? [])))
    switch try answer(control) {
    case .accept(let accept):
      window.set(roundTrip: HostClock.now() - asked)
      return accept
    case .reject(let refusal), .error(let refusal): throw MigrationFailure(refusal, peer: control.peer)
    default: throw MigrationFailure(.protocolViolation, "\(control.peer) answered 'hello' with something else")
    }
  }

  /// What a lane's codec may look back over, as a base-2 logarithm.
  private func historyLog(_ blocks: BlockTable?) -> UInt8 {
    guard let blocks else { return 0 }
    return SourceSession.historyLog(
      configuration.codec, historyByteCount: Self.historyByteCount, guestByteCount: blocks.byteCount,
      laneCount: configuration.laneCount)
  }

  private func attach(_ accept: ControlMessage.Accept) throws(MigrationFailure) -> [Connection] {
    var data: [Connection] = []
    for channel in 1...configuration.channelCount {
      let connection = try connect()
      connection.setTimeout(Self.answerLimit)
      let attaching = ControlChannel(connection)
      try attaching.send(.attach(.init(version: accept.version, token: accept.token, channel: UInt16(channel))))
      switch try answer(attaching) {
      case .attached: connection.setTimeout(nil)
      case .reject(let refusal), .error(let refusal): throw MigrationFailure(refusal, peer: attaching.peer)
      default: throw MigrationFailure(.protocolViolation, "\(attaching.peer) answered 'attach' with something else")
      }
      data.append(connection)
    }
    return data
  }

  private func answer(_ channel: ControlChannel) throws(MigrationFailure) -> ControlMessage {
    let message = try channel.receive()
    switch message {
    case .error(let refusal), .reject(let refusal): throw MigrationFailure(refusal, peer: channel.peer)
    case .cancel(let reason): throw .cancelled(byPeer: channel.peer, reason: reason)
    default: return message
    }
  }

  private func makePipeline(
    _ blocks: BlockTable, _ data: [Connection]
  ) throws(MigrationFailure) -> SendingPipeline {
    let memory: DepartingMemory
    do throws(GuestMemoryError) { memory = try DepartingMemory(blocks, keepsAll: configuration.keepsAll) } catch {
      throw MigrationFailure(output: error)
    }
    let placement = configuration.placement.plan(interface: data.first?.interfaceName) { request in
      request.laneCount = configuration.laneCount
      request.channelCount = data.count
    }
    do throws(LaneError) {
      let pipeline = try SendingPipeline(
        memory: memory.source, pending: memory.pending, connections: data,
        configuration: .init(
          laneCount: configuration.laneCount, codec: configuration.codec,
          historyByteCount: historyLog(blocks) == 0 ? 0 : 1 << Int(historyLog(blocks)), wantsDigests: false,
          live: .init(
            memory: memory.source, log: RelayLog(), heat: SpanHeat(blocks),
            cacheBudget: CacheBudget(
              configuration.deltaCache, guestByteCount: blocks.byteCount, laneCount: configuration.laneCount),
            seed: SessionIdentity.random().low),
          pacer: Pacer(bytesPerSecond: configuration.bandwidthLimit), cpuCount: placement.allowance.workerCount,
          placement: placement),
        onEvent: { [self] event in
          if case .iterationProduced(let number) = event {
            producedIteration.store(number, ordering: .releasing)
            produced.wake()
          } else {
            events.post(.sending(event))
          }
        })
      pipeline.start()
      state.withLock { state in
        state.memory = memory
        state.pipeline = pipeline
        state.mode = .pages
        state.guestByteCount = blocks.byteCount
      }
      return pipeline
    } catch { throw MigrationFailure(error, with: "\(configuration.endpoint)", memory: MigrationFailure.init(output:)) }
  }

  // MARK: Sending

  /// Begins an iteration as often as there is something to send; the body of a thread.
  private func pump(_ control: ControlChannel, _ memory: DepartingMemory?, _ pipeline: SendingPipeline?) {
    var iteration: UInt32 = 0
    var begunAt: UInt64 = 0
    var last: UInt64 = 0
    while true {
      // A position without news is worth a turn, too: what came before it may have been taken already, and room waits for it.
      _ = news.wait {
        self.stream.hasNews || memory?.hasNews ?? false || self.stream.position.load(ordering: .acquiring) != last
          || self.isStopped
      }
      if isStopped { return }
      if !stream.hasNews, begunAt + Self.pauseNanoseconds > HostClock.now() {
        HostClock.sleep(nanoseconds: begunAt + Self.pauseNanoseconds - HostClock.now())
      }
      begunAt = HostClock.now()
      // In this order: what is before the position is in what is taken afterwards.
      let position = stream.position.load(ordering: .acquiring)
      last = position
      let box = stream.takeOutbox()
      if let memory, let pipeline, memory.collect(for: iteration + 1) > 0 {
        iteration += 1
        pipeline.begin(Iteration(number: iteration, kind: .mixed))
      }
      state.withLock { state in
        state.iteration = iteration
        state.relayed += UInt64(box.bytes.count)
        state.underWay.append((position, iteration, state.relayed))
      }
      settle { _ in }
      do throws(MigrationFailure) {
        for first in stride(from: 0, to: box.bytes.count, by: WireLimits.relayByteCountMax) {
          let piece = box.bytes[first..<min(box.bytes.count, first + WireLimits.relayByteCountMax)]
          try control.send(.relay(.init(afterIteration: iteration, bytes: Array(piece))))
        }
        if box.isEnded {
          if let failure = box.failure {
            events.post(.controlEnded(failure))
          } else {
            // Before it is said: the other half may have done all that is left, and gone, when this goes on.
            state.withLock { $0.streamHasEnded = true }
            try control.send(.relayEnd(afterIteration: iteration))
            events.post(.steer)
          }
          return
        }
      } catch {
        events.post(.controlEnded(error))
        return
      }
      _ = produced.wait { self.producedIteration.load(ordering: .acquiring) >= iteration || self.isStopped }
    }
  }

  // MARK: Hearing

  /// Hears what the other half says until it has nothing more to do: it closes when both streams have ended and all is with
  /// its hypervisor.
  private func converse(_ control: ControlChannel, _ vigil: Vigil) throws(MigrationFailure) {
    var nextHeartbeat: UInt64 = 0
    var answersHaveEnded = false
    while true {
      let now = HostClock.now()
      if now >= nextHeartbeat {
        try vigil.check(peer: control.peer)
        try control.send(.heartbeat)
        nextHeartbeat = now + SessionPatience.heartbeatInterval.nanoseconds
      }
      guard let event = events.next(nanoseconds: Int64(nextHeartbeat - now)) else { continue }
      switch event {
      case .message(.ack(let ack)):
        settle { $0.confirmedIteration = max($0.confirmedIteration, ack.completedIteration) }
      case .message(.relayTaken(let byteCount)): settle { $0.taken = max($0.taken, byteCount) }
      case .message(.relay(let answer)): try pass(answer.bytes)
      case .message(.relayEnd):
        answersHaveEnded = true
        hypervisor.finishSending()
      case .message(.error(let refusal)), .message(.reject(let refusal)):
        throw MigrationFailure(refusal, peer: control.peer)
      case .message(.cancel(let reason)): throw .cancelled(byPeer: control.peer, reason: reason)
      case .message(.heartbeat), .steer, .receiving, .digested, .visitor: break
      case .message: throw MigrationFailure(.protocolViolation, "\(control.peer) sent a control message out of turn")
      case .controlEnded(let failure):
        if answersHaveEnded, state.withLock({ $0.streamHasEnded }) { return }
        throw failure
      case .sending(.failed(let error)):
        let failure = MigrationFailure(error, with: control.peer, memory: MigrationFailure.init(output:))
        hypervisor.shutDown()
        throw events.lastWords(explaining: failure, peer: control.peer)
      case .sending(.iterationProduced): break
      case .cancel(let reason): throw MigrationFailure(.cancelled, reason)
      }
    }
  }

  /// The other half has more than before.
  private func settle(_ note: (inout State) -> Void) {
    let (position, iteration) = state.withLock { state -> (UInt64?, UInt32) in
      note(&state)
      // A peer may say anything: no more than was begun is confirmed.
      state.confirmedIteration = min(state.confirmedIteration, state.iteration)
      var position: UInt64?
      while let first = state.underWay.first, first.iteration <= state.confirmedIteration, first.relayed <= state.taken
      {
        position = first.position
        state.underWay.removeFirst()
      }
      return (position, state.confirmedIteration)
    }
    stream.confirmedIteration.store(iteration, ordering: .releasing)
    if let position { window.confirm(upTo: position) }
  }
}
