// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import HostSystem
import Lanes
import Logging
import PageCodecs
import PageKernels
import PageModel
import Transport
import Wire

/// A destination's part of a migration from the first page to the commit.
///
/// Handles what arrives in the session's mailbox, and lets the source hear from it every 100 ms meanwhile. Belongs to
/// the session's thread.
struct Intake {
  private let control: ControlChannel
  private let pipeline: ReceivingPipeline
  private let memory: any DestinationMemory
  private let events: Mailbox<SessionEvent>
  private let vigil: Vigil
  private let logger: Logger
  private let token: SessionIdentity
  private var tracker: IterationTracker

  /// - Parameter token: what data channels show that are added while pages flow.
  init(
    control: ControlChannel, pipeline: ReceivingPipeline, memory: any DestinationMemory,
    events: Mailbox<SessionEvent>, vigil: Vigil, logger: Logger, laneCount: Int,
    token: SessionIdentity
  ) {
    self.control = control
    self.pipeline = pipeline
    self.memory = memory
    self.events = events
    self.vigil = vigil
    self.logger = logger
    self.token = token
    tracker = IterationTracker(laneCount: laneCount)
  }

  /// Receives iterations until the source says that nothing more will come.
  ///
  /// Its last words do not wait for an answer: they may arrive before the last pages, on other channels, have.
  mutating func receiveIterations() throws(MigrationFailure) -> ControlMessage.Final {
    var lastWords: ControlMessage.Final?
    while true {
      if let lastWords, tracker.isComplete {
        pipeline.close()
        return lastWords
      }
      switch try nextEvent() {
      case .message(.iterationBegin(let begin)): try tracker.begin(begin)
      case .message(.iterationEnd(let end)):
        try tracker.end(end, applied: pipeline.statistics)
        if tracker.isComplete { try sendAck() }
      case .message(.final(let final)):
        guard tracker.isAnnounced, lastWords == nil else {
          throw MigrationFailure(.protocolViolation, "\(control.peer) sent 'final' before an iteration was complete")
        }
        lastWords = final
      case .receiving(.laneDone(_, let lane, let iteration)):
        try tracker.laneDone(lane, iteration: iteration, applied: pipeline.statistics)
        if tracker.isComplete { try sendAck() }
      case .visitor(.dataChannel(let visitor, let attach)): admit(visitor, attach)
      case let event: try handleCommon(event)
      }
    }
  }

  /// How long one who attaches while pages flow may take to hear of it.
  private static let admissionLimit = Duration.seconds(1)

  /// Takes one more data channel, or sends the visitor away. Whatever becomes of it, the migration goes on.
  private func admit(_ visitor: ControlChannel, _ attach: ControlMessage.Attach) {
    guard attach.belongs(to: token) else { return Self.refuse(visitor, logger) }
    visitor.connection.setTimeouts(receive: nil, send: Self.admissionLimit)
    // Before the answer: a lane may move to the channel as soon as the source has that.
    guard pipeline.add(visitor.connection, number: Int(attach.channel)) else { return Self.refuse(visitor, logger) }
    do throws(MigrationFailure) { try visitor.send(.attached) } catch {
      // Its thread sees the end of it.
      return visitor.connection.shutDown()
    }
    logger.info("\(visitor.peer) attached as data channel \(attach.channel)")
  }

  /// Sends away who does not belong to this session.
  static func refuse(_ visitor: ControlChannel, _ logger: Logger) {
    logger.warning("\(visitor.peer) tried to attach to a session that it does not belong to; dropped")
    visitor.refuse("wrong token or channel")
  }

  /// Compares the digest of every block, and gets everything that can fail out of the way of the commit.
  /// - Returns: the digests, or nil if the source did not send any.
  func verify(_ final: ControlMessage.Final, threadCount: Int) throws(MigrationFailure) -> [BlockDigest]? {
    var found: [BlockDigest]?
    if !final.digests.isEmpty {
      let expected = final.digests.map { BlockDigest(low: $0.low, high: $0.high) }
      let digests = if let known = pipeline.digests { known } else { try computeDigests(threadCount) }
      guard expected.count == digests.count else {
        throw MigrationFailure(
          .protocolViolation, "\(control.peer) sent \(expected.count) digests for \(digests.count) blocks")
      }
      for (block, pair) in zip(memory.blocks.blocks, zip(expected, digests)) where pair.0 != pair.1 {
        throw MigrationFailure(
          .digestMismatch, "RAM block '\(block.name)' differs: digest \(pair.1), the source has \(pair.0)")
      }
      found = digests
    }
    do throws(GuestMemoryError) { try memory.prepareToComplete() } catch { throw MigrationFailure(output: error) }
    return found
  }

  private func computeDigests(_ threadCount: Int) throws(MigrationFailure) -> [BlockDigest] {
    let check = DigestCheck(memory: memory, threadCount: threadCount, placement: pipeline.placement.helper)
    check.start { [events] in events.post(.digested($0)) }
    defer { check.stop() }
    while true {
      switch try nextEvent() {
      case .digested(.success(let found)): return found
      case .digested(.failure(let error)): throw MigrationFailure(output: error)
      case let event: try handleCommon(event)
      }
    }
  }

  /// Tells the source that it may let go, and waits until it has.
  ///
  /// Once `ready` is out the destination may not give up by itself: the source's commit could be on its way, and then
  /// nobody would have the guest. A cancel is passed on to the source, which decides: it has let go, or it closes.
  func awaitCommit(_ ready: ControlMessage.Ready) throws(MigrationFailure) {
    try control.send(.ready(ready))
    var cancelReason: String?
    while true {
      // A data channel that ends, an acknowledgement that cannot be sent: neither says what the source has decided. Only
      // the control channel does, and what it carried comes before its end. Silence is borne for long: the commit may be on
      // its way. But not for ever: the source keeps what is dropped here.
      guard let event = events.next(nanoseconds: Int64(SessionPatience.ackInterval.nanoseconds)) else {
        try vigil.check(peer: control.peer, factor: SessionPatience.silenceFactorAfterReady)
        try? sendAck()
        continue
      }
      switch event {
      case .message(.commit): return
      case .cancel(let reason):
        cancelReason = reason
        try? control.send(.cancel(reason: reason))
      case .controlEnded(let failure):
        throw cancelReason.map { MigrationFailure(.cancelled, $0) } ?? failure
      case .receiving: break
      default: try handleCommon(event)
      }
    }
  }

  /// Tells the source that the guest is here; from now on it is, whether or not the source hears of it. Then lets the
  /// source close first, so that the last message is not lost to a reset.
  func sayResumed(after nanoseconds: UInt64) {
    try? control.send(.resumed(.init(resumeNanoseconds: nanoseconds)))
    control.connection.finishSending()
    let deadline = HostClock.now() + SessionPatience.lastWords.nanoseconds
    while HostClock.now() < deadline {
      guard let event = events.next(nanoseconds: Int64(clamping: deadline - min(deadline, HostClock.now()))) else {
        return
      }
      if case .controlEnded = event { return }
    }
  }

  private func nextEvent() throws(MigrationFailure) -> SessionEvent {
    while true {
      if let event = events.next(nanoseconds: Int64(SessionPatience.ackInterval.nanoseconds)) { return event }
      try vigil.check(peer: control.peer)
      try sendAck()
    }
  }

  private func sendAck() throws(MigrationFailure) {
    try control.send(
      .ack(
        .init(
          completedIteration: tracker.completed, appliedFrameCounts: pipeline.appliedFrameCounts,
          receivedByteCount: pipeline.receivedByteCount)))
  }

  private func handleCommon(_ event: SessionEvent) throws(MigrationFailure) {
    try Self.handleCommon(event, control: control, events: events, logger: logger)
  }

  /// Events that mean the same in every phase.
  static func handleCommon(
    _ event: SessionEvent, control: ControlChannel, events: Mailbox<SessionEvent>, logger: Logger
  ) throws(MigrationFailure) {
    switch event {
    case .message(.heartbeat): break
    case .message(.error(let refusal)): throw MigrationFailure(refusal, peer: control.peer)
    case .message(.cancel(let reason)): throw .cancelled(byPeer: control.peer, reason: reason)
    case .message: throw MigrationFailure(.protocolViolation, "\(control.peer) sent a control message out of turn")
    case .controlEnded(let failure), .failed(let failure): throw failure
    case .receiving(.failed(let error)):
      let failure = MigrationFailure(error, with: control.peer, memory: MigrationFailure.init(output:))
      throw events.lastWords(explaining: failure, peer: control.peer)
    case .receiving(.laneDone): break
    case .cancel(let reason): throw MigrationFailure(.cancelled, reason)
    case .visitor(.source(let visitor, _)), .visitor(.dataChannel(let visitor, _)):
      logger.warning("\(visitor.peer) came while a migration is under way; refused")
      visitor.refuse("this receiver is busy with another migration")
    case .visitor(.refused), .visitor(.listenerFailed): break
    case .digested, .sending, .steer: break
    }
  }
}

extension ControlMessage.Attach {
  /// Whether it shows the token of a session, in a version of the protocol that is spoken here.
  func belongs(to token: SessionIdentity) -> Bool { self.token == token && WireLimits.versions.contains(version) }
}

extension ControlMessage.Hello {
  /// Whether what frames are to be encoded with can be decoded here.
  package func checkCodecs() throws(MigrationFailure) {
    for raw in codecs where CodecRegistry.codec(tag: CodecTag(rawValue: raw)) == nil {
      throw MigrationFailure(
        .codecUnknown, "codec number \(raw) is unknown here; upgrade this receiver or choose another")
    }
    guard Set(codecs).count == codecs.count else {
      throw MigrationFailure(.protocolViolation, "a codec is listed twice")
    }
    let hasHistory = codecs.contains { CodecRegistry.codec(tag: CodecTag(rawValue: $0)) is any HistoryCodec.Type }
    guard !hasHistory || historyLog != 0 else {
      throw MigrationFailure(.protocolViolation, "a codec with a history is listed, and no size for it")
    }
  }

  /// Whether the rest of it goes with lanes that move.
  var lanesCanMove: Bool {
    features.contains(.runningGuest) && !features.contains(.digests)
  }
}
