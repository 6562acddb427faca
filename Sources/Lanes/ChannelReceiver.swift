// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import HostSystem
import PageKernels
import PageModel
import Synchronization
import SystemPackage
import Transport
import Wire

/// What one data channel has delivered. The channel's threads add, anyone reads.
final class ChannelCounters: Sendable {
  /// Frames applied, in the channel's order: the sequence number that is due next.
  let appliedFrames = Atomic<UInt64>(0)
  let zeroPages = Atomic<UInt64>(0)
  let dataPages = Atomic<UInt64>(0)
  let deltaPages = Atomic<UInt64>(0)
  /// Frames that threads of their own have decoded.
  let handedFrames = Atomic<UInt64>(0)
  /// Time in the codec and in writing guest memory, in ns.
  let codecNanoseconds = Atomic<UInt64>(0)
  let storeNanoseconds = Atomic<UInt64>(0)
}

/// Receives a channel's frames, checks each one whole, and applies it to guest memory.
///
/// Belongs to the channel's thread; its buffers are allocated once, at the protocol's limits, never by a number from
/// the wire. Nothing is written before the frame's lengths, masks and checksum have passed. Raw pages without a
/// checksum are received where they belong, if memory is mapped: what vouches for them is their block's digest.
///
/// Where threads help and the socket holds more than was decoded, frames are handed to them and applied here, in the
/// order in which they came: a page may be in two frames of an iteration. While decoding keeps up, nobody is handed
/// anything.
final class ChannelReceiver {
  /// Bytes of a channel's buffers.
  static func bufferByteCount(decoders: Int) -> Int {
    FrameHeader.byteCount + FrameSlot.largestBodyByteCount + FrameSlot.largestDecodedByteCount
      + DecodeQueue.byteCount(decoders: decoders)
  }

  /// What waits in the socket when the channel is ahead: more than one segment brings.
  private static let aheadByteCount = 64 << 10

  private let number: Int
  private let connection: Connection
  private let session: ReceivingPipeline.Session
  private let blocks: BlockTable
  private let counters: ChannelCounters
  private let decoder: FrameDecoder
  private let applier: FrameApplier
  private var header: PageBuffer
  /// For the frame that is received, decoded and applied at once.
  private let single: FrameSlot
  /// For those that are received while others are decoded; nil where no thread helps.
  private let queue: DecodeQueue?
  private var nextSequence: UInt64 = 0
  /// Bytes of the last frame's body.
  private var lastByteCount = 0
  /// Who has which lane now.
  private let owners: LaneOwners

  /// What a channel's thread asks and tells the pipeline.
  struct Calls {
    let isStopped: () -> Bool
    /// Whether all pages are here: then a frame is one too many.
    let isClosed: () -> Bool
    /// Told lane and iteration of each end-of-iteration frame, and the digests of what has arrived since the last.
    let onMark: (Int, UInt32, [BlockDigest]?) -> Void
    /// Whether there is a channel of this number, from 1, that a lane can move to.
    let isOpen: (Int) -> Bool
    /// Waits for a lane that is to feed this channel; false if it does not come.
    let awaitLane: (Int) -> Bool
  }

  private let calls: Calls

  /// - Parameters:
  ///   - number: from 1, as on the wire.
  ///   - owners: of all lanes, shared by the channels' threads.
  ///   - decoderCount: threads that help.
  ///   - node: that its buffers prefer; nil: none.
  init(
    number: Int, connection: Connection, memory: any DestinationMemory, session: ReceivingPipeline.Session,
    owners: LaneOwners, counters: ChannelCounters, decoderCount: Int, node: Int?, calls: Calls
  ) throws(LaneError) {
    do throws(Errno) {
      header = try PageBuffer(byteCount: FrameHeader.byteCount)
      single = try FrameSlot(
        bodyByteCount: FrameSlot.largestBodyByteCount, decodedByteCount: FrameSlot.largestDecodedByteCount, node: node)
    } catch { throw .noBuffers(error) }
    decoder = try FrameDecoder(channel: number, session: session, counters: counters)
    queue =
      decoderCount > 0
      ? try DecodeQueue(channel: number, decoderCount: decoderCount, session: session, counters: counters, node: node)
      : nil
    applier = FrameApplier(
      channel: number, memory: memory, wantsDigests: session.features.contains(.digests), counters: counters)
    self.number = number
    self.connection = connection
    self.session = session
    self.owners = owners
    self.counters = counters
    self.calls = calls
    blocks = memory.blocks
  }

  /// Whether the channel has brought nothing yet.
  var isUnused: Bool { nextSequence == 0 }

  /// Receives and applies frames until it is stopped.
  /// - Parameters:
  ///   - firstDecoder: the number of the first thread that helps, from 1.
  ///   - placement: of a thread that helps, by its number.
  func run(firstDecoder: Int, placement: (Int) -> ThreadPlacement) throws(LaneError) {
    queue?.start(first: firstDecoder, placement: placement)
    defer { queue?.stop() }
    while !calls.isStopped() {
      if let queue {
        try applyReady(queue)
        if !queue.isEmpty {
          guard queue.hasRoom, isAhead else {
            queue.help(decoder)
            continue
          }
          queue.callDecoder()
        }
      }
      try next()
    }
  }

  /// Whether the channel outruns this thread: about another frame has come already. Never with nothing in the socket:
  /// while a frame is queued, nothing may be waited for.
  private var isAhead: Bool {
    connection.waitingByteCount >= max(FrameHeader.byteCount, min(Self.aheadByteCount, lastByteCount))
  }

  /// Receives a frame, and applies it unless it is queued.
  private func next() throws(LaneError) {
    let slot: FrameSlot
    do throws(LaneError) { slot = try receive() } catch {
      // What came before is whole: it is applied, or is what is wrong first.
      try applyAll()
      throw error
    }
    if slot !== single {
      queue?.publish()
      return
    }
    try applyAll()
    if slot.header.flags.contains(.dataUnsummed) {
      if let mapped = applier.mapped {
        try applier.receive(slot.body, into: mapped, from: connection)
        return finish(slot.header)
      }
      try receive(slot.body.data, of: slot)
    }
    try decoder.decode(slot)
    try apply(slot)
  }

  /// Receives a frame and checks it: the header, the records, and what of the payload has a checksum.
  private func receive() throws(LaneError) -> FrameSlot {
    let header = try receiveHeader()
    lastByteCount = header.bodyByteCount
    if session.features.contains(.lanesMove) { try awaitLane(header) }
    var slot = single
    // Where it belongs it is received in its turn, and a history is decoded in its turn.
    // A lane moves once all that came before is applied.
    if let queue, queue.hasRoom, header.type != .laneMoved, FrameSlot.isQueueable(header),
      !header.flags.contains(.dataUnsummed),
      decoder.isIndependent(header)
    {
      slot = queue.nextSlot
    }
    slot.begin(header)
    try receive(0..<header.summedByteCount, of: slot)
    do throws(WireError) { try slot.check(blocks: blocks, features: session.features) } catch {
      throw .wire(channel: number, error)
    }
    if calls.isClosed() { throw .wire(channel: number, .frameAfterLast) }
    try checkLane(header)
    nextSequence += 1
    return slot
  }

  private func receive(_ range: Range<Int>, of slot: FrameSlot) throws(LaneError) {
    do throws(TransportError) {
      try slot.withRoom(range) { (bytes) throws(TransportError) in try connection.receive(into: &bytes) }
    } catch { throw .transport(channel: number, error) }
  }

  private func receiveHeader() throws(LaneError) -> FrameHeader {
    do throws(TransportError) {
      try header.withMutableBytes(0..<FrameHeader.byteCount) { (bytes) throws(TransportError) in
        try connection.receive(into: &bytes)
      }
    } catch { throw .transport(channel: number, error) }
    do throws(WireError) {
      let decoded = try header.withBytes(0..<FrameHeader.byteCount) { (bytes) throws(WireError) in
        try FrameHeader(decoding: bytes)
      }
      guard decoded.sequence == nextSequence else {
        throw WireError.sequenceBroken(found: decoded.sequence, expected: nextSequence)
      }
      return decoded
    } catch { throw .wire(channel: number, error) }
  }

  /// Waits until a lane that is on its way from another channel has arrived here. Its last frame there was sent before
  /// this one, but may not have been applied yet.
  private func awaitLane(_ header: FrameHeader) throws(LaneError) {
    let lane = Int(header.lane)
    guard lane < session.laneCount, !owners.owns(lane: lane, channel: number) else { return }
    // Its thread may in turn wait for a lane that has left this channel.
    try applyAll()
    guard calls.awaitLane(lane) else { throw .laneElsewhere(channel: number, lane: lane) }
  }

  /// A lane's frames come on its channel, and belong to the iteration after its last mark: what was counted stays as it was.
  private func checkLane(_ header: FrameHeader) throws(LaneError) {
    let lane = Int(header.lane)
    guard owners.owns(lane: lane, channel: number) else { throw .laneElsewhere(channel: number, lane: lane) }
    let expected = owners.markedIteration(ofLane: lane) &+ 1
    guard header.iteration == expected else {
      throw .wire(channel: number, .iterationBroken(found: header.iteration, expected: expected))
    }
    switch header.type {
    case .pages: break
    case .endOfIteration: owners.mark(lane: lane, iteration: header.iteration)
    case .laneMoved:
      let target = Int(header.channel)
      guard target != number, calls.isOpen(target) else {
        throw .laneMovedNowhere(channel: number, lane: lane, target: target)
      }
    }
  }

  // MARK: Applying

  /// Applies what is queued and decoded, in order.
  private func applyReady(_ queue: DecodeQueue) throws(LaneError) {
    while let slot = queue.ready {
      // It may have come before all pages were here, and then be one too many all the same.
      if calls.isClosed() { throw .wire(channel: number, .frameAfterLast) }
      try apply(slot)
      queue.release()
    }
  }

  /// Applies all that is queued.
  private func applyAll() throws(LaneError) {
    guard let queue else { return }
    try applyReady(queue)
    while !queue.isEmpty {
      queue.help(decoder)
      try applyReady(queue)
    }
  }

  /// Applies a decoded frame.
  private func apply(_ slot: FrameSlot) throws(LaneError) {
    if slot.header.type == .pages { try applier.apply(slot) }
    finish(slot.header)
  }

  /// Tells of a frame that was applied.
  private func finish(_ header: FrameHeader) {
    counters.appliedFrames.store(header.sequence + 1, ordering: .relaxed)
    switch header.type {
    case .pages: break
    case .endOfIteration: calls.onMark(Int(header.lane), header.iteration, applier.takeDigests())
    case .laneMoved:
      decoder.forget(lane: header.lane)
      owners.move(lane: Int(header.lane), to: Int(header.channel))
    }
  }
}
