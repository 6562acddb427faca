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

  static let answerLimit = Duration.seconds(30)
  /// What codecs with a history look back over, all lanes together.
  static let historyByteCount: UInt64 = 64 << 20
  /// At least so long between two iterations: their marks and acknowledgements cost as much as some pages.
  private static let pauseNanoseconds: UInt64 = 2_000_000

  let hypervisor: Connection
  let siblings: Siblings
  let configuration: Configuration
  let logger: Logger
  let events = Mailbox<SessionEvent>()
  private let news = ParkingSpot()
  let produced = ParkingSpot()
  let producedIteration = Atomic<UInt32>(0)
  private let stopped = Atomic<Bool>(false)
  let cancelled = Atomic<Bool>(false)
  let window: RelayWindow
  let stream: DepartingStream
  let state = Mutex(State())
  let controls: RelayControls
  let startedAt = HostClock.now()

  /// What is known of it. Anyone reads.
  struct State {
    var phase = Phase.setup
    var mode = RelayReport.Mode.verbatim
    var connections: [Connection] = []
    var pipeline: SendingPipeline?
    var memory: DepartingMemory?
    var guestByteCount: UInt64 = 0
    /// When pages could flow, and when it was over.
    var activeAt: UInt64?
    var endedAt: UInt64?
    var cacheBudget: CacheBudget?
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
  ///   - controls: of all of them.
  init(
    hypervisor: Connection, siblings: Siblings, controls: RelayControls, configuration: Configuration, logger: Logger
  ) {
    self.controls = controls
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
    // In setup its thread may be waiting for an answer. The other half is still told why.
    let (phase, connections) = state.withLock { ($0.phase, $0.connections) }
    if phase == .setup { for connection in connections { connection.stopReceiving() } }
  }

  /// Carries the stream.
  public func run() -> RelayReport {
    var control: ControlChannel?
    var failure: MigrationFailure?
    do throws(MigrationFailure) { try carry(&control) } catch {
      // What waits only sees that connections are gone.
      failure = events.takeCancel().map { MigrationFailure(.cancelled, $0) } ?? error
    }
    if let failure {
      // At once: it may be blocked in a write, with its guest paused.
      hypervisor.shutDown()
      siblings.gate.fail(failure)
      if let control, let farewell = failure.farewell { try? control.send(farewell, within: SessionPatience.lastWords) }
    }
    stop()
    state.withLock { state in
      state.phase = failure?.finalPhase ?? .completed
      state.failure = failure
      state.endedAt = HostClock.now()
    }
    return report
  }

  /// Another connection of the same hypervisor has failed.
  func abort(_ failure: MigrationFailure) {
    events.post(.failed(failure))
    hypervisor.shutDown()
    let (phase, connections) = state.withLock { ($0.phase, $0.connections) }
    if phase == .setup { for connection in connections { connection.shutDown() } }
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

  var isStopped: Bool { stopped.load(ordering: .relaxed) }

  // MARK: Setup

  private func carry(_ established: inout ControlChannel?) throws(MigrationFailure) {
    let role = try recognise()
    defer { if role == .stream { siblings.noteOver() } }
    let opening = try open(role)
    if role != .stream, !siblings.awaitMain() {
      throw MigrationFailure(.hypervisorFailed, "a connection came without the stream that it belongs to")
    }
    if let reason = events.takeCancel() { throw MigrationFailure(.cancelled, reason) }
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
    // From here on the destination's hypervisor has this connection; it may answer only when it has the others, too.
    if role == .stream { siblings.noteMainIsOpen() }
    let data: [Connection]
    do throws(MigrationFailure) {
      data = try blocks == nil ? [] : attach(token)
      try control.send(.relay(.init(afterIteration: 0, bytes: opening.bytes)))
    } catch { throw lastWords(control, explaining: error) }
    noteUnderWay(upTo: stream.position.load(ordering: .acquiring), iteration: 0, relaying: opening.bytes.count)
    try awaitReserved(control)
    state.withLock { $0.phase = .active }
    control.establish(sendLimit: .seconds(configuration.socketOptions.deadPeerSeconds))
    let vigil = Vigil(limit: .seconds(configuration.socketOptions.deadPeerSeconds))
    let pipeline = try blocks.map { (blocks) throws(MigrationFailure) in try makePipeline(blocks, data) }
    state.withLock { $0.activeAt = HostClock.now() }
    let memory = state.withLock { $0.memory }
    let beside = memory.flatMap { (memory) -> ChannelPages? in
      guard memory.isShared, let blocks = opening.blocks else { return nil }
      return ChannelPages(memory, blocks: blocks, window: window, news: news, stream: stream)
    }
    if let beside { siblings.gate.open(beside) }
    let threads = [
      control.startReceiving(into: events, vigil: vigil),
      HostThread(name: "pf-stream") { [self] in
        stream.run(into: memory)
        events.post(.steer)
      },
      HostThread(name: "pf-relay") { [self] in pump(control, memory, beside, pipeline) },
    ]
    defer {
      stop()
      hypervisor.shutDown()
      for thread in threads { thread.join() }
    }
    do throws(MigrationFailure) { try converse(control, vigil) } catch {
      hypervisor.shutDown()
      siblings.gate.fail(error)
      if let farewell = error.farewell { try? control.send(farewell, within: SessionPatience.lastWords) }
      throw error
    }
  }

  // MARK: Sending

  /// Begins an iteration as often as there is something to send; the body of a thread.
  private func pump(
    _ control: ControlChannel, _ memory: DepartingMemory?, _ beside: ChannelPages?, _ pipeline: SendingPipeline?
  ) {
    // What is stored, of all connections whose pages go this way.
    func position() -> UInt64 {
      stream.position.load(ordering: .acquiring) + (beside?.stored.load(ordering: .acquiring) ?? 0)
    }
    var iteration: UInt32 = 0
    var begunAt: UInt64 = 0
    var last: UInt64 = 0
    while true {
      // A position without news is worth a turn, too: what came before it may have been taken already, and room waits for it.
      _ = news.wait {
        self.stream.hasNews || memory?.hasNews ?? false || position() != last
          || self.isStopped
      }
      if isStopped { return }
      if !stream.hasNews { HostClock.sleep(until: begunAt + Self.pauseNanoseconds) }
      begunAt = HostClock.now()
      // In this order: what is before the position is in what is taken afterwards.
      let position = position()
      last = position
      let box = stream.takeOutbox()
      if let memory, let pipeline, memory.collect(for: iteration + 1) > 0 {
        iteration += 1
        pipeline.begin(Iteration(number: iteration, kind: .mixed))
      }
      noteUnderWay(upTo: position, iteration: iteration, relaying: box.bytes.count)
      settle { _ in }
      do throws(MigrationFailure) {
        for first in stride(from: 0, to: box.bytes.count, by: WireLimits.relayByteCountMax) {
          let piece = box.bytes[first..<min(box.bytes.count, first + WireLimits.relayByteCountMax)]
          controls.pacer.wait(byteCount: piece.count, isCancelled: { self.isStopped })
          try control.send(.relay(.init(afterIteration: iteration, bytes: Array(piece))))
        }
        if box.isEnded {
          if let failure = box.failure {
            events.post(.failed(failure))
          } else {
            // Before it is said: the other half may have done all that is left, and gone, when this goes on.
            state.withLock { $0.streamHasEnded = true }
            try control.send(.relayEnd(afterIteration: iteration))
            events.post(.steer)
          }
          return
        }
      } catch {
        events.post(.failed(error))
        return
      }
      _ = produced.wait { self.producedIteration.load(ordering: .acquiring) >= iteration || self.isStopped }
    }
  }

  // MARK: Hearing

  /// Hears what the other half says until it has nothing more to do: it closes when both streams have ended and all is with
  /// its hypervisor.
  func converse(_ control: ControlChannel, _ vigil: Vigil) throws(MigrationFailure) {
    var nextHeartbeat: UInt64 = 0
    var answersHaveEnded = false
    while true {
      let now = HostClock.now()
      if now >= nextHeartbeat {
        try vigil.check(peer: control.peer)
        do throws(MigrationFailure) { try control.send(.heartbeat) } catch {
          hypervisor.shutDown()
          throw events.lastWords(explaining: error, peer: control.peer)
        }
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
      case .failed(let failure):
        hypervisor.shutDown()
        throw events.lastWords(explaining: failure, peer: control.peer)
      case .sending(.failed(let error)):
        let failure = MigrationFailure(error, with: control.peer, memory: MigrationFailure.init(output:))
        hypervisor.shutDown()
        throw events.lastWords(explaining: failure, peer: control.peer)
      case .sending(.iterationProduced): break
      case .cancel(let reason): throw MigrationFailure(.cancelled, reason)
      }
    }
  }
}
