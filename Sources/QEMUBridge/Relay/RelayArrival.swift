// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import HostSystem
import Lanes
import Logging
import Migration
import PageCodecs
import PageModel
import Synchronization
import SystemPackage
import Transport
import Wire

/// One connection of the hypervisors, at the destination. ``run()`` does everything on the calling thread and threads of
/// its own.
final class RelayArrival: Sendable {
  let token = SessionIdentity.random()
  let control: ControlChannel
  let hello: ControlMessage.Hello
  let configuration: RelayDestination.Configuration
  let logger: Logger
  let events = Mailbox<SessionEvent>()
  let state = Mutex(State())
  let startedAt = HostClock.now()
  /// What the hypervisor has answered to a ping: it has taken what came before.
  let pong = Atomic<UInt32>(0)
  let answered = ParkingSpot()

  struct State {
    var phase = Phase.setup
    var mode = RelayReport.Mode.verbatim
    var channels: [Connection] = []
    var pipeline: ReceivingPipeline?
    var hypervisor: Connection?
    var guestByteCount: UInt64 = 0
    var iteration: UInt32 = 0
    var relayed: UInt64 = 0
    /// When pages could flow, and when it was over.
    var activeAt: UInt64?
    var endedAt: UInt64?
    var failure: MigrationFailure?
    var answersHaveEnded = false
  }

  init(
    _ control: ControlChannel, _ hello: ControlMessage.Hello, configuration: RelayDestination.Configuration,
    logger: Logger
  ) {
    self.control = control
    self.hello = hello
    self.configuration = configuration
    self.logger = logger
  }

  func cancel(_ reason: String) {
    events.post(.cancel(reason: reason))
    // In setup its thread may be waiting for the other half.
    if state.withLock({ $0.phase }) == .setup { control.connection.stopReceiving() }
  }

  func attach(_ channel: ControlChannel, _ attach: ControlMessage.Attach) {
    events.post(.visitor(.dataChannel(channel, attach)))
  }

  func run() {
    var failure: MigrationFailure?
    do throws(MigrationFailure) { try serve() } catch {
      // What waited in setup only sees that nothing comes.
      failure = events.takeCancel().map { MigrationFailure(.cancelled, $0) } ?? error
    }
    let now = state.withLock { $0 }
    if let failure {
      // First of all: half a guest must not start.
      now.hypervisor?.shutDown()
      if let farewell = failure.farewell { try? control.send(farewell, within: SessionPatience.lastWords) }
    }
    control.connection.shutDown()
    now.pipeline?.stop()
    events.close()
    state.withLock { state in
      state.phase = failure?.finalPhase ?? .completed
      state.failure = failure
      state.endedAt = HostClock.now()
    }
  }

  // MARK: Setup

  private func serve() throws(MigrationFailure) {
    logger.info("proxy \(hello.session): \(control.peer) (\(MigrationFailure.printable(hello.software)))")
    control.connection.setTimeout(configuration.setupTimeout)
    let blocks = try check()
    let hypervisor = try connect()
    try control.send(hello.acceptance(token: token, software: configuration.software))
    let data = try blocks == nil ? [] : gather(hello.channelCount)
    let first = try receiveBeginning()
    let opening = try blocks.map { (blocks) throws(MigrationFailure) in try parse(first.bytes, blocks) }
    control.establish(sendLimit: configuration.silenceLimit)
    do throws(TransportError) { try hypervisor.send(first.bytes) } catch { throw lost(hypervisor, error) }
    let answers = HostThread(name: "pf-answers") { [self] in readAnswers(hypervisor) }
    defer {
      hypervisor.shutDown()
      answers.join()
    }
    let memory = try blocks.map { (blocks) throws(MigrationFailure) in
      try reserve(blocks, opening, hypervisor, after: first.bytes.count)
    }
    let pipeline = memory.map { receive(into: $0, data) }
    let stream = ArrivingStream(hypervisor, memory: memory, opening: opening)
    let vigil = Vigil(limit: configuration.silenceLimit)
    let threads = [
      control.startReceiving(into: events, vigil: vigil),
      HostThread(name: "pf-regenerate") { [self] in
        do throws(TransportError) { try stream.run { self.events.post(.steer) } } catch {
          events.post(.failed(lost(hypervisor, error)))
        }
      },
    ]
    defer {
      hypervisor.shutDown()
      control.connection.shutDown()
      events.close()
      stream.stop()
      for thread in threads { thread.join() }
    }
    state.withLock { state in
      (state.phase, state.activeAt) = (.active, HostClock.now())
      state.relayed = UInt64(first.bytes.count)
    }
    pipeline?.start()
    do throws(MigrationFailure) {
      try say(.relayTaken(byteCount: UInt64(first.bytes.count)))
      try say(.reserved)
      try converse(stream, vigil, passed: UInt64(first.bytes.count))
    } catch {
      hypervisor.shutDown()
      if let farewell = error.farewell { try? control.send(farewell, within: SessionPatience.lastWords) }
      throw error
    }
  }

  private func lost(_ hypervisor: Connection, _ error: TransportError) -> MigrationFailure {
    MigrationFailure(.hypervisorFailed, "the destination's hypervisor is gone (see its log): \(error)")
  }

  // MARK: The hypervisor's answers

  /// Passes on what the hypervisor says; the body of a thread.
  private func readAnswers(_ hypervisor: Connection) {
    var room = [UInt8](repeating: 0, count: 64 << 10)
    var words = ReturnPath()
    while true {
      let got: Int
      do throws(TransportError) {
        got = try hypervisor.receiveSome(into: &room)
      } catch {
        events.post(.failed(lost(hypervisor, error)))
        return
      }
      do throws(MigrationFailure) {
        guard got > 0 else {
          try control.send(.relayEnd(afterIteration: 0))
          state.withLock { $0.answersHaveEnded = true }
          events.post(.steer)
          return
        }
        if let number = words.pong(in: room[..<got]) {
          pong.store(number, ordering: .releasing)
          answered.wake()
        }
        try control.send(.relay(.init(afterIteration: 0, bytes: Array(room[..<got]))))
      } catch {
        events.post(.failed(error))
        return
      }
    }
  }

  // MARK: Hearing

  private func converse(_ stream: ArrivingStream, _ vigil: Vigil, passed first: UInt64) throws(MigrationFailure) {
    var orders = ArrivingOrders(laneCount: hello.laneCount)
    var told = (iteration: UInt32(0), passed: UInt64(0))
    while true {
      let done = stream.progress
      // The other half waits until this one closes: then nothing is under way any more.
      if done.isEnded, state.withLock({ $0.answersHaveEnded }) { return }
      if done.iteration != told.iteration { try acknowledge(done.iteration) }
      if done.passed != told.passed { try say(.relayTaken(byteCount: first + done.passed)) }
      told = (done.iteration, done.passed)
      guard let event = events.next(nanoseconds: Int64(SessionPatience.ackInterval.nanoseconds)) else {
        try vigil.check(peer: control.peer)
        try acknowledge(told.iteration)
        continue
      }
      switch event {
      case .receiving(.laneDone(_, let lane, let iteration)):
        guard try orders.note(lane: lane, iteration: iteration) else { break }
        state.withLock { $0.iteration = orders.complete }
      case .message(.relay(let relay)):
        orders.add(relay)
        state.withLock { $0.relayed += UInt64(relay.bytes.count) }
      case .message(.relayEnd(let after)): orders.end(after: after)
      case .message(.heartbeat), .steer, .digested, .sending, .visitor: break
      case .message(.error(let refusal)): throw MigrationFailure(refusal, peer: control.peer)
      case .message(.cancel(let reason)): throw .cancelled(byPeer: control.peer, reason: reason)
      case .message: throw MigrationFailure(.protocolViolation, "\(control.peer) sent a control message out of turn")
      case .controlEnded(let failure): throw failure
      case .failed(let failure):
        state.withLock { $0.hypervisor }?.shutDown()
        throw events.lastWords(explaining: failure, peer: control.peer)
      case .receiving(.failed(let error)):
        let failure = MigrationFailure(error, with: control.peer, memory: MigrationFailure.init(output:))
        throw events.lastWords(explaining: failure, peer: control.peer)
      case .cancel(let reason): throw MigrationFailure(.cancelled, reason)
      }
      for order in orders.take() { stream.order(order) }
      try orders.check(stream.progress, peer: control.peer)
    }
  }

  /// Most memory for codecs with a history.
  static let historyByteCountMax = 1 << 30

  /// Of the session's own thread.
  private func say(_ message: ControlMessage) throws(MigrationFailure) {
    do throws(MigrationFailure) { try control.send(message) } catch {
      // It may have said why it hangs up before it did.
      throw events.lastWords(explaining: error, peer: control.peer)
    }
  }

  private func acknowledge(_ iteration: UInt32) throws(MigrationFailure) {
    try say(
      .ack(
        .init(
          completedIteration: iteration, appliedFrameCounts: [],
          receivedByteCount: state.withLock { $0.pipeline }?.receivedByteCount ?? 0)))
  }

  /// Where it stands.
  var report: RelayReport {
    let now = state.withLock { $0 }
    let applied = now.pipeline?.statistics ?? .init()
    var report = RelayReport(
      role: .destination, phase: now.phase, mode: now.mode,
      seconds: Double((now.endedAt ?? HostClock.now()) - startedAt) / 1e9)
    report.guestBytes = now.guestByteCount
    report.streamBytes = now.hypervisor?.sentByteCount ?? 0
    report.wireBytes = control.connection.receivedByteCount + (now.pipeline?.receivedByteCount ?? 0)
    report.relayedBytes = now.relayed
    report.pages = .init(zero: applied.zeroPages, data: applied.dataPages, delta: applied.deltaPages)
    report.iterations = now.iteration
    report.failure = now.failure.map { .init($0) }
    return report
  }
}
