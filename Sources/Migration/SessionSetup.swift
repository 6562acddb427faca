// SPDX-License-Identifier: Apache-2.0
package import HostSystem
package import Lanes
package import PageCodecs
package import Transport
package import Wire

// How two sides come together, whatever is to be moved: hello and accept on the control channel, then the data channels.

// MARK: - The side that sends

extension ControlChannel {
  /// Says hello.
  /// - Parameter receive: how the answer comes.
  /// - Returns: what the other side has agreed to.
  package func introduce(
    _ hello: ControlMessage.Hello, receive: () throws(MigrationFailure) -> ControlMessage
  ) throws(MigrationFailure) -> ControlMessage.Accept {
    try send(.hello(hello))
    switch try receive() {
    case .accept(let accept):
      guard WireLimits.versions.contains(accept.version) else {
        throw MigrationFailure(.versionMismatch, "\(peer) chose protocol version \(accept.version)")
      }
      return accept
    case .reject(let refusal), .error(let refusal): throw MigrationFailure(refusal, peer: peer)
    case .cancel(let reason): throw .cancelled(byPeer: peer, reason: reason)
    default: throw MigrationFailure(.protocolViolation, "\(peer) answered 'hello' with something else")
    }
  }

  /// How long a peer may take over each answer of the setup.
  static let answerLimit = Duration.seconds(10)

  /// Has the destination take this connection as a data channel.
  /// - Parameters:
  ///   - number: from 1.
  ///   - receive: how its answer comes.
  package func attach(
    _ accept: ControlMessage.Accept, number: Int, receive: () throws(MigrationFailure) -> ControlMessage
  ) throws(MigrationFailure) {
    connection.setTimeout(Self.answerLimit)
    try send(.attach(.init(version: accept.version, token: accept.token, channel: UInt16(number))))
    switch try receive() {
    case .attached: connection.setTimeout(nil)
    case .reject(let refusal), .error(let refusal): throw MigrationFailure(refusal, peer: peer)
    default: throw MigrationFailure(.protocolViolation, "\(peer) answered 'attach' with something else")
    }
  }
}

extension CodecRegistry {
  /// What frames of a guest that runs may be encoded with: whatever this side knows, so that it may be changed later; what
  /// needs a history only if one is kept anyway.
  package static func offered(hasHistory: Bool) -> [CodecTag] {
    all.filter { hasHistory || !($0 is any HistoryCodec.Type) }.map { $0.identity.tag }
  }
}

// MARK: - The side that receives

extension ControlMessage.Hello {
  /// The answer to it: the highest version that both speak. The ranges overlap, or it would not have been read.
  package func acceptance(token: SessionIdentity, software: String) -> ControlMessage {
    .accept(
      .init(version: min(versions.upperBound, WireLimits.versions.upperBound), token: token, software: software))
  }

  /// What a pipeline has to know of it.
  package var session: ReceivingPipeline.Session {
    .init(
      codecs: codecs.map { CodecTag(rawValue: $0) }, laneCount: laneCount, channelCount: channelCount,
      historyByteCount: historyLog == 0 ? 0 : 1 << Int(historyLog), features: features)
  }
}

extension Mailbox<SessionEvent> {
  /// Waits until a source has opened its data channels.
  /// - Parameters:
  ///   - token: that they have to show.
  ///   - refuse: told of those who do not belong to the session.
  ///   - handle: what else happens meanwhile.
  /// - Returns: them, in the order of their numbers.
  package func gather(
    _ count: Int, token: SessionIdentity, peer: String, within limit: Duration, refuse: (ControlChannel) -> Void,
    handle: (SessionEvent) throws(MigrationFailure) -> Void
  ) throws(MigrationFailure) -> [Connection] {
    var channels = [Connection?](repeating: nil, count: count)
    let deadline = HostClock.now() + limit.nanoseconds
    while channels.contains(where: { $0 == nil }) {
      guard let event = next(nanoseconds: Int64(clamping: deadline - min(deadline, HostClock.now()))) else {
        throw MigrationFailure(
          .peerLost, "\(peer) opened \(channels.count { $0 != nil }) of its \(count) data channels in time")
      }
      guard case .visitor(.dataChannel(let visitor, let attach)) = event else {
        try handle(event)
        continue
      }
      let index = Int(attach.channel) - 1
      guard attach.belongs(to: token), channels.indices.contains(index), channels[index] == nil else {
        refuse(visitor)
        continue
      }
      visitor.connection.setTimeout(nil)
      try visitor.send(.attached)
      channels[index] = visitor.connection
    }
    return channels.compactMap { $0 }
  }
}

// MARK: - The end of either

extension MigrationFailure {
  /// The phase that it leaves a migration in: somebody wanted it so, or something broke.
  package var finalPhase: Phase { code == .cancelled || code == .cancelledByPeer ? .cancelled : .failed }
}
