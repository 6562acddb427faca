// SPDX-License-Identifier: Apache-2.0
import HostSystem
import PageModel
import Synchronization
import Transport
import Wire

/// Drains the rings of a channel's lanes into its connection, several frames to a write.
final class ChannelSender: @unchecked Sendable {
  /// Bytes after which a write is not made larger: enough to make the system call cheap, and small enough to pace.
  private static let writeByteCountMax = 1 << 20
  /// Bytes outside its slot from which a frame's are worth a send of their own, without a copy.
  private static let lastingByteCountMin = 32 << 10

  /// From 1, as on the wire.
  let number: Int
  let connection: Connection
  /// Of all lanes, by their number.
  private let rings: [FrameRing]
  /// The lanes that feed this channel.
  let lanes = LaneSet()
  /// Where who waits for frames sleeps, or a lane for its turn to send.
  let frameSpot = ParkingSpot()
  private let pacer: Pacer
  /// Nil: not for this channel.
  private let zeroCopy: ZeroCopy?
  /// Whether somebody sends: who set it has what follows to himself.
  private let isTaken = Atomic<Bool>(false)
  /// Whether the vector still holds what the socket had no room for.
  private let isUnfinished = Atomic<Bool>(false)
  private let vector = IOVector()
  /// Frames of each lane that the vector holds.
  private var taken: [(lane: Int, count: Int)] = []
  private var sequence: UInt64 = 0
  /// Nanoseconds that the bandwidth limit has held this channel back. Anyone reads.
  let pacedNanoseconds = Atomic<UInt64>(0)

  /// - Parameters:
  ///   - number: from 1, as on the wire.
  ///   - rings: of all lanes; it drains those of ``lanes``.
  ///   - zeroCopy: how bytes outside slots go; they must stay as they are until ``finish()`` has returned.
  init(
    number: Int, connection: Connection, rings: [FrameRing], pacer: Pacer,
    zeroCopy: ZeroCopyOptions = .init(.off)
  ) {
    self.number = number
    self.connection = connection
    self.rings = rings
    self.pacer = pacer
    self.zeroCopy = ZeroCopy(connection, zeroCopy)
    taken.reserveCapacity(rings.count)
  }

  /// Sends until `isStopped`; the body of the sender's thread.
  func run(isStopped: @Sendable () -> Bool) throws(LaneError) {
    while true {
      _ = frameSpot.wait { self.hasWork && !self.isTaken.load(ordering: .relaxed) || isStopped() }
      if isStopped() { return }
      guard take() else { continue }
      try sendReady(isStopped: isStopped)
      isTaken.store(false, ordering: .releasing)
    }
  }

  private var hasWork: Bool {
    isUnfinished.load(ordering: .relaxed) || lanes.contains { readyCount(ofLane: $0) > 0 }
  }

  private func readyCount(ofLane lane: Int) -> Int { rings[lane].readyCount(ifOurs: { lanes.contains(lane) }) }

  /// Acquiring: pairs with the releasing stores, so that who sends next sees what the last one left.
  private func take() -> Bool {
    isTaken.compareExchange(expected: false, desired: true, ordering: .acquiring).exchanged
  }

  /// A lane's way to send what it has just put into its ring, where channels have no threads: waits for the socket, and
  /// for its turn if others feed the channel, too.
  func sendInTurn(_ ring: FrameRing, isStopped: @Sendable () -> Bool) throws(LaneError) {
    var isOurs = take()
    if !isOurs {
      _ = frameSpot.wait {
        isOurs = self.take()
        return isOurs || isStopped()
      }
    }
    guard isOurs else { return }
    // Another may have sent it already, and with many lanes one write may not hold it.
    while ring.readyCount > 0, !isStopped() { try sendReady(isStopped: isStopped) }
    // After an error nobody else's turn comes: the pipeline ends.
    isTaken.store(false, ordering: .releasing)
    frameSpot.wake()
  }

  /// Sends what is ready, in one write, and waits until it is sent.
  func sendReady(isStopped: @Sendable () -> Bool) throws(LaneError) {
    if !isUnfinished.load(ordering: .relaxed) { collect() }
    while vector.remainingByteCount > 0 {
      let piece = pacer.pieceByteCount(of: vector.remainingByteCount)
      let paced = pacer.wait(byteCount: piece, isCancelled: isStopped)
      pacedNanoseconds.add(paced, ordering: .relaxed)
      do throws(TransportError) { try connection.send(vector, byteCount: piece, zeroCopy: zeroCopy) } catch {
        throw .transport(channel: number, error)
      }
    }
    release()
  }

  /// A lane's try to send what it has just put into its ring, while that is in the core's cache: as much as the socket
  /// takes. The sender's thread is woken for the rest only, so on a link that is never full it sleeps.
  /// - Parameter waits: until all of it is sent: where the next frames are ready as soon, and no CPU is free for the
  ///   sender's thread, it would only take the lane's place.
  func sendAtOnce(waits: Bool, isStopped: @Sendable () -> Bool) throws(LaneError) {
    if waits, take() {
      while hasWork, !isStopped() { try sendReady(isStopped: isStopped) }
      isTaken.store(false, ordering: .releasing)
      return
    }
    // Somebody sends already, or the bandwidth limit has to be waited for.
    if !pacer.isLimited, !isUnfinished.load(ordering: .relaxed), take() {
      // Looked at again: now nobody changes it.
      if !isUnfinished.load(ordering: .relaxed) {
        collect()
        do throws(TransportError) {
          if try connection.sendAtOnce(vector, zeroCopy: zeroCopy) {
            release()
          } else {
            isUnfinished.store(true, ordering: .relaxed)
          }
        } catch { throw .transport(channel: number, error) }
      }
      isTaken.store(false, ordering: .releasing)
      guard hasWork else { return }
    }
    frameSpot.wake()
  }

  /// What came of sending without a copy; nil if that was ruled out.
  var zeroCopyUse: ZeroCopyUse? { zeroCopy?.use }

  /// Waits until the kernel needs nothing of guest memory any more. Once nobody sends.
  func finish() { zeroCopy?.finish() }

  private func release() {
    isUnfinished.store(false, ordering: .relaxed)
    for (lane, count) in taken { rings[lane].release(count) }
    taken.removeAll(keepingCapacity: true)
  }

  /// Gathers ready frames of all rings, each ring's in order, and stamps their sequence numbers.
  private func collect() {
    _ = lanes.contains { lane in
      let ring = rings[lane]
      // At most half a ring at once, so that the lane has slots to fill while this write is under way.
      let ready = min(readyCount(ofLane: lane), max(1, ring.slotCount / 2))
      var count = 0
      while count < ready, hasRoom {
        // SAFETY: a ready frame's slot stays the consumer's until it is released, after the write.
        let frame = unsafe ring.frame(count)
        var bytes = unsafe MutableRawSpan(_unsafeBytes: frame)
        FrameHeader.stamp(sequence: sequence, into: &bytes)
        unsafe vector.append(UnsafeRawBufferPointer(frame))
        let parts = unsafe ring.parts(ofFrame: count)
        // A slot is filled again as soon as its write has returned; only what lies outside may be sent without a copy.
        let isLasting = unsafe zeroCopy != nil && parts.reduce(0) { $0 + $1.count } >= Self.lastingByteCountMin
        for part in 0..<parts.count { unsafe vector.append(parts[part], isLasting: isLasting) }
        sequence += 1
        count += 1
      }
      if count > 0 { taken.append((lane, count)) }
      return !hasRoom
    }
  }

  /// Whether the vector takes another frame.
  private var hasRoom: Bool {
    vector.freeCount > FrameRing.partCountMax && vector.remainingByteCount < Self.writeByteCountMax
  }
}
