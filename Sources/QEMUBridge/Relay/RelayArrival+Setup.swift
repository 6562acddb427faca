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

// What comes before the first page.
extension RelayArrival {
  func check() throws(MigrationFailure) -> BlockTable? {
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
    guard hello.features.isSubset(of: [.relay, .deltas]) else {
      throw MigrationFailure(.protocolViolation, "a relayed stream has no other features than deltas")
    }
    try hello.checkCodecs()
    return blocks
  }

  func connect() throws(MigrationFailure) -> Connection {
    let dialer = Dialer(endpoint: configuration.hypervisor, options: .init())
    do throws(TransportError) {
      let connection = try dialer.connect(within: configuration.connectTimeout)
      state.withLock { $0.hypervisor = connection }
      return connection
    } catch {
      throw MigrationFailure(.hypervisorFailed, "the hypervisor does not listen (-incoming): \(error)")
    }
  }

  func gather(_ count: Int) throws(MigrationFailure) -> [Connection] {
    let gathered = try events.gather(
      count, token: token, peer: control.peer, within: configuration.setupTimeout,
      refuse: { $0.refuse("wrong channel") },
      handle: { (event) throws(MigrationFailure) in
        if case .cancel(let reason) = event { throw MigrationFailure(.cancelled, reason) }
      })
    state.withLock { $0.channels = gathered }
    return gathered
  }

  func receiveBeginning() throws(MigrationFailure) -> ControlMessage.Relay {
    switch try control.receive() {
    case .relay(let beginning): return beginning
    case .error(let refusal): throw MigrationFailure(refusal, peer: control.peer)
    case .cancel(let reason): throw .cancelled(byPeer: control.peer, reason: reason)
    default:
      throw MigrationFailure(.protocolViolation, "\(control.peer) did not begin with the stream's beginning")
    }
  }

  /// The stream's beginning, which must declare the blocks that were agreed on.
  func parse(_ bytes: [UInt8], _ blocks: BlockTable) throws(MigrationFailure) -> StreamOpening {
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
  func reserve(
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
  func whyNotDirect(
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

  /// Marks of lanes that wait to be heard before more is received.
  private static let waitingMarkCountMax = 1000

  func receive(into memory: ArrivingMemory, _ data: [Connection]) -> ReceivingPipeline {
    let placement = configuration.placement.plan(interface: data.first?.interfaceName) { request in
      request.receiverCount = data.count
    }
    let pipeline = ReceivingPipeline(
      memory: memory, connections: data,
      session: hello.session,
      placement: placement,
      onEvent: { [events] event in
        // Marks cost a peer nothing: while they are not heard, no more are received.
        if case .laneDone = event {
          events.post(.receiving(event), roomFor: Self.waitingMarkCountMax)
        } else {
          events.post(.receiving(event))
        }
      })
    state.withLock { $0.pipeline = pipeline }
    return pipeline
  }
}
