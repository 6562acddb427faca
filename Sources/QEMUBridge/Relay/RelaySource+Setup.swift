// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import HostSystem
import Lanes
import Logging
import Migration
import PageCodecs
import PageModel
import Synchronization
import Transport
import Wire

// What comes before the first page.
extension RelaySource {
  /// Waits until pages may come; the hypervisor may answer before that.
  func awaitReserved(_ control: ControlChannel) throws(MigrationFailure) {
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
  func pass(_ bytes: [UInt8]) throws(MigrationFailure) {
    do throws(TransportError) { try hypervisor.send(bytes) } catch {
      throw MigrationFailure(.hypervisorFailed, "the hypervisor does not take its answers: \(error)")
    }
  }

  /// What a connection is for.
  enum Role {
    case stream
    /// Pages, beside the stream.
    case multifd
    case other
  }

  /// What this connection is for: by its first bytes, once they have come. One that stays silent while another has the
  /// stream is for later (postcopy's, that preempts), and needs to be there.
  func recognise() throws(MigrationFailure) -> Role {
    var first = [UInt8](repeating: 0, count: 4)
    hypervisor.setTimeouts(receive: .milliseconds(100), send: nil)
    defer { hypervisor.setTimeouts(receive: nil, send: nil) }
    var silences = 0
    while true {
      let got: Int?
      do throws(TransportError) {
        got = try hypervisor.peek(into: &first)
      } catch {
        if let reason = events.takeCancel() { throw MigrationFailure(.cancelled, reason) }
        throw MigrationFailure(.hypervisorFailed, "the hypervisor's connection: \(error)")
      }
      switch got {
      case 0: throw MigrationFailure(.hypervisorFailed, "the hypervisor has connected and closed without a word")
      case nil:
        silences += 1
        if siblings.mainIsOpen, silences > 3 { return .other }
      case .some(4...):
        // TLS begins with a handshake's record (RFC 8446, 5.1).
        if first[0] == 0x16, first[1] == 3 {
          throw MigrationFailure(
            .hypervisorFailed,
            "the hypervisor's stream is encrypted and cannot be taken apart: unset its tls-creds, this is its own host")
        }
        return first == Array("QEVM".utf8) ? .stream : first == [0x11, 0x22, 0x33, 0x44] ? .multifd : .other
      // A word that is still coming.
      default: HostClock.sleep(nanoseconds: 1_000_000)
      }
    }
  }

  /// The hypervisor's blocks, as the lanes count memory.
  static func table(_ blocks: [StreamBlock]) throws(MigrationFailure) -> BlockTable {
    var base: UInt64 = 0
    let list = blocks.map { block in
      defer { base += block.byteCount }
      return RAMBlock(name: block.name, guestPhysicalBase: base, byteCount: block.byteCount)
    }
    do throws(BlockTableError) { return try BlockTable(list) } catch {
      throw MigrationFailure(.hypervisorFailed, "the hypervisor's RAM blocks are wrong: \(error)")
    }
  }

  func connect() throws(MigrationFailure) -> Connection {
    let dialer = Dialer(endpoint: configuration.endpoint, options: configuration.socketOptions)
    do throws(TransportError) {
      let connection = try dialer.connect(
        within: configuration.connectTimeout, isCancelled: { self.isStopped || self.cancelled.load(ordering: .relaxed) }
      )
      state.withLock { $0.connections.append(connection) }
      return connection
    } catch { throw MigrationFailure(connecting: error) }
  }

  func introduce(
    _ control: ControlChannel, _ blocks: BlockTable?
  ) throws(MigrationFailure) -> ControlMessage.Accept {
    let historyLog = historyLog(blocks)
    let asked = HostClock.now()
    let hello = ControlMessage.Hello(
      session: controls.identity, channelCount: configuration.channelCount, laneCount: configuration.laneCount,
      features: blocks == nil ? .relay : [.relay, .deltas],
      codecs: CodecRegistry.offered(hasHistory: historyLog > 0).map { $0.rawValue }, historyLog: historyLog,
      software: configuration.software, blocks: blocks?.blocks ?? [])
    let accept = try control.introduce(hello) { () throws(MigrationFailure) in try answer(control) }
    window.set(roundTrip: HostClock.now() - asked)
    return accept
  }

  /// What a lane's codec may look back over, as a base-2 logarithm.
  func historyLog(_ blocks: BlockTable?) -> UInt8 {
    guard let blocks else { return 0 }
    return SourceSession.historyLog(
      configuration.codec, historyByteCount: Self.historyByteCount, guestByteCount: blocks.byteCount,
      laneCount: configuration.laneCount)
  }

  func attach(_ accept: ControlMessage.Accept) throws(MigrationFailure) -> [Connection] {
    var data: [Connection] = []
    for channel in 1...configuration.channelCount {
      let connection = try connect()
      let attaching = ControlChannel(connection)
      try attaching.attach(accept, number: channel) { () throws(MigrationFailure) in try answer(attaching) }
      data.append(connection)
    }
    return data
  }

  /// While nobody else hears the control channel: the other half's own reason for what `failure` shows, if it gave one.
  func lastWords(_ control: ControlChannel, explaining failure: MigrationFailure) -> MigrationFailure {
    guard failure.code == .peerLost, !failure.isFromPeer else { return failure }
    control.connection.setTimeout(SessionPatience.lastWords)
    do throws(MigrationFailure) { _ = try answer(control) } catch {
      return error.isFromPeer ? error : failure
    }
    return failure
  }

  func answer(_ channel: ControlChannel) throws(MigrationFailure) -> ControlMessage {
    let message = try channel.receive()
    switch message {
    case .error(let refusal), .reject(let refusal): throw MigrationFailure(refusal, peer: channel.peer)
    case .cancel(let reason): throw .cancelled(byPeer: channel.peer, reason: reason)
    default: return message
    }
  }

  func makePipeline(
    _ blocks: BlockTable, _ data: [Connection]
  ) throws(MigrationFailure) -> SendingPipeline {
    let memory: DepartingMemory
    do throws(GuestMemoryError) {
      memory = try DepartingMemory(
        blocks, keepsAll: configuration.keepsAll, isShared: siblings.gate.way == .pages)
    } catch {
      throw MigrationFailure(output: error)
    }
    let cacheBudget = CacheBudget(
      configuration.deltaCache, guestByteCount: blocks.byteCount, laneCount: configuration.laneCount)
    let placement = configuration.placement.plan(interface: data.first?.interfaceName) { request in
      request.laneCount = configuration.laneCount
      request.channelCount = data.count
    }
    do throws(LaneError) {
      let pipeline = try SendingPipeline(
        memory: memory.pool, pending: memory.pending, connections: data,
        configuration: .init(
          laneCount: configuration.laneCount, codec: configuration.codec,
          historyByteCount: historyLog(blocks) == 0 ? 0 : 1 << Int(historyLog(blocks)), wantsDigests: false,
          live: .init(
            memory: .pooled(memory.pool), log: RelayLog(), heat: SpanHeat(blocks),
            cacheBudget: cacheBudget, seed: SessionIdentity.random().low,
            heldBackNanoseconds: { [window] in window.stalledNanoseconds.load(ordering: .relaxed) }),
          pacer: controls.pacer, cpuCount: placement.allowance.workerCount,
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
        state.cacheBudget = cacheBudget
      }
      // They may have been changed already.
      follow(controls.settings)
      return pipeline
    } catch { throw MigrationFailure(error, with: "\(configuration.endpoint)", memory: MigrationFailure.init(output:)) }
  }
}
