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
  private let control: ControlChannel
  private let hello: ControlMessage.Hello
  private let configuration: RelayDestination.Configuration
  private let logger: Logger
  private let events = Mailbox<SessionEvent>()
  private let state = Mutex(State())
  private let startedAt = HostClock.now()
  /// What the hypervisor has answered to a ping: it has taken what came before.
  private let pong = Atomic<UInt32>(0)
  private let answered = ParkingSpot()

  private struct State {
    var phase = Phase.setup
    var mode = RelayReport.Mode.verbatim
    var channels: [Connection] = []
    var pipeline: ReceivingPipeline?
    var hypervisor: Connection?
    var guestByteCount: UInt64 = 0
    var iteration: UInt32 = 0
    var relayed: UInt64 = 0
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
    if state.withLock({ $0.phase }) == .setup { control.connection.shutDown() }
  }

  func attach(_ channel: ControlChannel, _ attach: ControlMessage.Attach) {
    events.post(.visitor(.dataChannel(channel, attach)))
  }

  func run() {
    var failure: MigrationFailure?
    do throws(MigrationFailure) { try serve() } catch { failure = error }
    let now = state.withLock { $0 }
    if let failure {
      // First of all: half a guest must not start.
      now.hypervisor?.shutDown()
      if let farewell = failure.farewell { try? control.send(farewell, within: SessionPatience.lastWords) }
    }
    control.connection.shutDown()
    now.pipeline?.stop()
    events.close()
    let isCancel = failure?.code == .cancelled || failure?.code == .cancelledByPeer
    state.withLock { state in
      state.phase = failure == nil ? .completed : isCancel ? .cancelled : .failed
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
    try control.send(
      .accept(
        .init(
          version: min(hello.versions.upperBound, WireLimits.versions.upperBound), token: token,
          software: configuration.software)))
    let data = try blocks == nil ? [] : gather(hello.channelCount)
    guard case .relay(let first) = try control.receive() else {
      throw MigrationFailure(.protocolViolation, "\(control.peer) did not begin with the stream's beginning")
    }
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
          events.post(.controlEnded(lost(hypervisor, error)))
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
      state.phase = .active
      state.relayed = UInt64(first.bytes.count)
    }
    pipeline?.start()
    try control.send(.relayTaken(byteCount: UInt64(first.bytes.count)))
    do throws(MigrationFailure) {
      try control.send(.reserved)
      try converse(stream, vigil, passed: UInt64(first.bytes.count))
    } catch {
      hypervisor.shutDown()
      if let farewell = error.farewell { try? control.send(farewell, within: SessionPatience.lastWords) }
      throw error
    }
  }

  private func check() throws(MigrationFailure) -> BlockTable? {
    guard !hello.blocks.isEmpty else { return nil }
    let blocks: BlockTable
    do throws(BlockTableError) { blocks = try BlockTable(hello.blocks) } catch {
      throw MigrationFailure(.protocolViolation, "the declared RAM blocks are wrong: \(error)")
    }
    guard blocks.byteCount <= configuration.memoryLimit else {
      throw MigrationFailure(
        .refused,
        "the guest has \(ByteCount.format(blocks.byteCount)), this proxy accepts "
          + "\(ByteCount.format(configuration.memoryLimit)) (--memory-limit)")
    }
    guard hello.historyByteCount <= Self.historyByteCountMax else {
      throw MigrationFailure(.refused, "its codec would hold \(ByteCount.format(UInt64(hello.historyByteCount))) here")
    }
    for raw in hello.codecs where CodecRegistry.codec(tag: CodecTag(rawValue: raw)) == nil {
      throw MigrationFailure(.codecUnknown, "codec number \(raw) is unknown here; upgrade this proxy")
    }
    return blocks
  }

  private func connect() throws(MigrationFailure) -> Connection {
    let dialer = Dialer(endpoint: configuration.hypervisor, options: .init())
    do throws(TransportError) {
      let connection = try dialer.connect(within: configuration.connectTimeout)
      state.withLock { $0.hypervisor = connection }
      return connection
    } catch {
      throw MigrationFailure(.hypervisorFailed, "the hypervisor does not listen (-incoming): \(error)")
    }
  }

  private func gather(_ count: Int) throws(MigrationFailure) -> [Connection] {
    var channels = [Connection?](repeating: nil, count: count)
    let deadline = HostClock.now() + configuration.setupTimeout.nanoseconds
    while channels.contains(where: { $0 == nil }) {
      guard let event = events.next(nanoseconds: Int64(clamping: deadline - min(deadline, HostClock.now()))) else {
        throw MigrationFailure(
          .peerLost, "\(control.peer) opened \(channels.count { $0 != nil }) of its \(count) data channels in time")
      }
      if case .cancel(let reason) = event { throw MigrationFailure(.cancelled, reason) }
      guard case .visitor(.dataChannel(let visitor, let attach)) = event else { continue }
      let index = Int(attach.channel) - 1
      guard channels.indices.contains(index), channels[index] == nil else {
        visitor.refuse("wrong channel")
        continue
      }
      visitor.connection.setTimeout(nil)
      try visitor.send(.attached)
      channels[index] = visitor.connection
    }
    let gathered = channels.compactMap { $0 }
    state.withLock { $0.channels = gathered }
    return gathered
  }

  /// The stream's beginning, which must declare the blocks that were agreed on.
  private func parse(_ bytes: [UInt8], _ blocks: BlockTable) throws(MigrationFailure) -> StreamOpening {
    let opening: StreamOpening
    do throws(StreamError) { opening = try StreamOpening(parsing: bytes) } catch {
      throw MigrationFailure(.protocolViolation, "\(control.peer): the stream's beginning: \(error)")
    }
    let agree =
      opening.blocks.count == blocks.blocks.count
      && zip(opening.blocks, blocks.blocks).allSatisfy { $0.name == $1.name && $0.byteCount == $1.byteCount }
    guard agree else {
      throw MigrationFailure(.protocolViolation, "\(control.peer): the stream declares other RAM blocks than the proxy")
    }
    return opening
  }

  /// Where pages go: the hypervisor's own memory if it can be had, else a copy.
  private func reserve(
    _ blocks: BlockTable, _ opening: StreamOpening?, _ hypervisor: Connection, after byteCount: Int
  ) throws(MigrationFailure) -> ArrivingMemory {
    var shared: [Int: FileDescriptor] = [:]
    if let opening {
      switch try whyNotDirect(opening, hypervisor).map({ .failure($0) })
        ?? configuration.direct.open(hypervisor, opening.blocks)
      {
      case .success(let files): shared = files
      case .failure(let reason):
        if configuration.direct != .off { logger.info("pages go through the hypervisor's stream: \(reason)") }
      }
    }
    defer { for file in shared.values { try? file.close() } }
    state.withLock { state in
      state.mode = shared.isEmpty ? .pages : .direct
      state.guestByteCount = blocks.byteCount
    }
    do throws(GuestMemoryError) { return try ArrivingMemory(blocks, shared: shared) } catch {
      throw MigrationFailure(output: error)
    }
  }

  /// Waits until the hypervisor has taken the stream's beginning: before that it writes its memory itself.
  private func whyNotDirect(
    _ opening: StreamOpening, _ hypervisor: Connection
  ) throws(MigrationFailure) -> DirectMemory.Absence? {
    if configuration.direct == .off { return "it was turned off" }
    if opening.advisesPostcopy { return "the source may go on with postcopy, which discards memory" }
    let limit: Int64 = 3_000_000_000
    if opening.hasReturnPath, let ping = opening.ping {
      let isAnswered = answered.wait(nanoseconds: limit) { self.pong.load(ordering: .acquiring) == ping }
      return isAnswered ? nil : "the hypervisor has not answered its ping"
    }
    let deadline = HostClock.now() + UInt64(limit)
    while HostClock.now() < deadline {
      if hypervisor.unsentByteCount == 0 {
        // Read, and a moment to work on it.
        HostClock.sleep(nanoseconds: 50_000_000)
        return nil
      }
      HostClock.sleep(nanoseconds: 1_000_000)
    }
    return "the hypervisor does not read"
  }

  private func receive(into memory: ArrivingMemory, _ data: [Connection]) -> ReceivingPipeline {
    let placement = configuration.placement.plan(interface: data.first?.interfaceName) { request in
      request.receiverCount = data.count
    }
    let pipeline = ReceivingPipeline(
      memory: memory, connections: data,
      session: .init(
        codecs: hello.codecs.map { CodecTag(rawValue: $0) }, laneCount: hello.laneCount,
        channelCount: hello.channelCount, historyByteCount: hello.historyLog == 0 ? 0 : 1 << Int(hello.historyLog),
        features: hello.features),
      placement: placement, onEvent: { [events] in events.post(.receiving($0)) })
    state.withLock { $0.pipeline = pipeline }
    return pipeline
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
        events.post(.controlEnded(lost(hypervisor, error)))
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
        events.post(.controlEnded(error))
        return
      }
    }
  }

  // MARK: Hearing

  private func converse(_ stream: ArrivingStream, _ vigil: Vigil, passed first: UInt64) throws(MigrationFailure) {
    var marks = LaneMarks(laneCount: hello.laneCount)
    /// What waits for an iteration, in order.
    var waiting: [(after: UInt32, order: ArrivingStream.Order)] = []
    var told = (iteration: UInt32(0), passed: UInt64(0))
    while true {
      let done = stream.progress
      // The other half waits until this one closes: then nothing is under way any more.
      if done.isEnded, state.withLock({ $0.answersHaveEnded }) { return }
      if done.iteration != told.iteration { try acknowledge(done.iteration) }
      if done.passed != told.passed { try control.send(.relayTaken(byteCount: first + done.passed)) }
      told = (done.iteration, done.passed)
      guard let event = events.next(nanoseconds: Int64(SessionPatience.ackInterval.nanoseconds)) else {
        try vigil.check(peer: control.peer)
        try acknowledge(told.iteration)
        continue
      }
      switch event {
      case .receiving(.laneDone(_, let lane, let iteration)):
        guard let complete = try marks.note(lane, iteration) else { break }
        state.withLock { $0.iteration = complete }
        stream.order(.tell(iteration: complete))
      case .message(.relay(let relay)):
        waiting.append((relay.afterIteration, .pass(relay.bytes)))
        state.withLock { $0.relayed += UInt64(relay.bytes.count) }
      case .message(.relayEnd(let after)): waiting.append((after, .end))
      case .message(.heartbeat), .steer, .digested, .sending, .visitor: break
      case .message(.error(let refusal)): throw MigrationFailure(refusal, peer: control.peer)
      case .message(.cancel(let reason)): throw .cancelled(byPeer: control.peer, reason: reason)
      case .message: throw MigrationFailure(.protocolViolation, "\(control.peer) sent a control message out of turn")
      case .controlEnded(let failure): throw failure
      case .receiving(.failed(let error)):
        let failure = MigrationFailure(error, with: control.peer, memory: MigrationFailure.init(output:))
        throw events.lastWords(explaining: failure, peer: control.peer)
      case .cancel(let reason): throw MigrationFailure(.cancelled, reason)
      }
      while let next = waiting.first, next.after <= marks.complete {
        stream.order(next.order)
        waiting.removeFirst()
      }
      let underWay = state.withLock { $0.relayed } - first - stream.progress.passed
      guard underWay <= Self.underWayMax, waiting.count <= Self.waitingCountMax else {
        throw MigrationFailure(.protocolViolation, "\(control.peer) sends a stream ahead of its pages")
      }
    }
  }

  /// Most memory for codecs with a history.
  private static let historyByteCountMax = 1 << 30
  /// Messages that may wait for pages, and bytes of the stream that may wait here: twice what a source lets out.
  private static let waitingCountMax = 4096
  private static let underWayMax: UInt64 = 512 << 20

  private func acknowledge(_ iteration: UInt32) throws(MigrationFailure) {
    try control.send(
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

/// How far the lanes have come: an iteration is complete when all of them have.
struct LaneMarks {
  private var last: [UInt32]
  /// The last iteration that is complete.
  private(set) var complete: UInt32 = 0

  init(laneCount: Int) { last = Array(repeating: 0, count: laneCount) }

  /// - Returns: the last complete iteration, if that is another than before.
  mutating func note(_ lane: Int, _ iteration: UInt32) throws(MigrationFailure) -> UInt32? {
    guard last.indices.contains(lane), iteration == last[lane] + 1 else {
      throw MigrationFailure(.protocolViolation, "lane \(lane) has ended iteration \(iteration) unduly")
    }
    last[lane] = iteration
    guard let least = last.min(), least > complete else { return nil }
    complete = least
    return complete
  }
}

/// What a hypervisor answers, as far as it matters here: `be16 type, be16 length, data`.
struct ReturnPath {
  private var bytes: [UInt8] = []
  private var isLost = false

  /// The number of the last pong among further bytes, if there is one.
  mutating func pong(in more: ArraySlice<UInt8>) -> UInt32? {
    guard !isLost else { return nil }
    bytes += more
    var found: UInt32?
    var at = 0
    while bytes.count - at >= 4 {
      let type = Int(bytes[at]) << 8 | Int(bytes[at + 1])
      let count = Int(bytes[at + 2]) << 8 | Int(bytes[at + 3])
      // Only pongs are expected while this matters.
      guard type == 2, count == 4 else {
        isLost = true
        bytes = []
        return found
      }
      guard bytes.count - at >= 8 else { break }
      found = bytes[at + 4..<at + 8].reduce(0) { $0 << 8 | UInt32($1) }
      at += 8
    }
    bytes.removeFirst(at)
    return found
  }
}
