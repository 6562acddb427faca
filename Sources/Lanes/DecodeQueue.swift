// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Synchronization
import SystemPackage
import Wire

/// A channel's frames between being received and being applied, and the threads that decode them meanwhile.
///
/// ```
/// channel's thread: receive, check → publish ┐                       ┌ in order: apply → release
///                                            └ claim · decode · done ┘
///                                              (decoders, and the channel's thread when it has nothing better to do)
/// ```
/// Frames are numbered as they come: those below `claimed` are being decoded or are done, those below `published` wait.
/// Whoever moves `claimed` past a frame has its slot until that is decoded. Publishing, applying and releasing are the
/// channel's thread's, which alone knows the order; nobody holds a lock. Slots are allocated once, and the one that was
/// released last is used first: while decoding keeps up, that is always the same, and it stays in the cache.
@safe final class DecodeQueue: @unchecked Sendable {
  /// Most threads that can help one channel.
  static let decoderCountMax = 7

  /// A slot for every thread, and as many again for what waits; 4 to 8.
  private static func slotCount(decoders: Int) -> Int { min(8, 2 * decoders + 2) }

  /// Bytes of the slots.
  static func byteCount(decoders: Int) -> Int {
    decoders == 0
      ? 0 : slotCount(decoders: decoders) * (FrameSlot.queuedBodyByteCount + FrameSlot.queuedDecodedByteCount)
  }

  private let slots: [FrameSlot]
  private let decoders: [FrameDecoder]
  private let counters: ChannelCounters
  /// The slots that are free.
  private var free: [Int]
  /// The slot of each frame, by its number modulo the slots.
  private let order: UnsafeMutablePointer<Int>
  private let published = Atomic<Int>(0)
  private let claimed = Atomic<Int>(0)
  /// The frame that is to be applied next.
  private var next = 0
  private let isStopped = Atomic<Bool>(false)
  /// Where decoders sleep while no frame waits, and the channel's thread until a frame is decoded.
  private let waitingSpot = ParkingSpot()
  private let decodedSpot = ParkingSpot()
  private var threads: [HostThread] = []

  /// Allocates slots, and a decoder for each thread; starts nothing yet.
  /// - Parameters:
  ///   - decoderCount: threads, from 1; more than ``decoderCountMax`` are as many.
  ///   - node: that the slots' memory prefers; nil: none.
  init(
    channel: Int, decoderCount: Int, session: ReceivingPipeline.Session, counters: ChannelCounters, node: Int?
  ) throws(LaneError) {
    var slots: [FrameSlot] = []
    var decoders: [FrameDecoder] = []
    let decoderCount = min(decoderCount, Self.decoderCountMax)
    for _ in 0..<Self.slotCount(decoders: decoderCount) {
      do throws(Errno) {
        slots.append(
          try FrameSlot(
            bodyByteCount: FrameSlot.queuedBodyByteCount, decodedByteCount: FrameSlot.queuedDecodedByteCount,
            node: node))
      } catch { throw .noBuffers(error) }
    }
    for _ in 0..<decoderCount {
      decoders.append(try FrameDecoder(channel: channel, session: session, counters: counters))
    }
    self.slots = slots
    self.decoders = decoders
    self.counters = counters
    free = Array(slots.indices.reversed())
    unsafe order = .allocate(capacity: slots.count)
    unsafe order.initialize(repeating: 0, count: slots.count)
  }

  deinit { unsafe order.deallocate() }

  // MARK: Decoders

  /// Starts the decoders' threads.
  /// - Parameters:
  ///   - first: the number of the first one, for its name.
  ///   - placement: where they run, by that number.
  func start(first: Int, placement: (Int) -> ThreadPlacement) {
    threads = decoders.enumerated().map { index, decoder in
      HostThread(name: "pf-decode-\(first + index)", placement: placement(first + index)) { [self] in run(decoder) }
    }
  }

  /// Ends the decoders, once each has done what it is at.
  func stop() {
    isStopped.store(true, ordering: .relaxed)
    waitingSpot.wake()
    for thread in threads { thread.join() }
    threads = []
  }

  private func run(_ decoder: FrameDecoder) {
    while true {
      _ = waitingSpot.wait { self.isWaiting || self.isStopped.load(ordering: .relaxed) }
      if isStopped.load(ordering: .relaxed) { return }
      guard let slot = claim() else { continue }
      counters.handedFrames.add(1, ordering: .relaxed)
      decoder.decodeAhead(slot)
      decodedSpot.wake()
    }
  }

  /// Whether a frame waits for somebody to decode it.
  private var isWaiting: Bool { claimed.load(ordering: .relaxed) < published.load(ordering: .acquiring) }

  /// Takes the oldest frame that waits.
  private func claim() -> FrameSlot? {
    var number = claimed.load(ordering: .relaxed)
    // Acquiring: pairs with the release in publish(), so that the frame and its place in the order are visible.
    while number < published.load(ordering: .acquiring) {
      let (isOurs, found) = claimed.compareExchange(expected: number, desired: number + 1, ordering: .relaxed)
      // Its entry stays as it is until the frame is applied, which it cannot be before it is decoded.
      if isOurs { return slots[unsafe order[number % slots.count]] }
      number = found
    }
    return nil
  }

  // MARK: The channel's thread

  /// Whether every frame was applied.
  var isEmpty: Bool { next == published.load(ordering: .relaxed) }

  /// Whether another frame can be received.
  var hasRoom: Bool { !free.isEmpty }

  /// The slot for the next frame; there must be room.
  var nextSlot: FrameSlot { slots[free[free.count - 1]] }

  /// Has the next slot's frame decoded: it was received and has passed.
  func publish() {
    let number = published.load(ordering: .relaxed)  // Only this thread writes it.
    unsafe order[number % slots.count] = free.removeLast()
    published.store(number + 1, ordering: .releasing)  // Pairs with the acquires above.
  }

  /// Has a decoder look for what waits, because the channel's thread goes on receiving.
  func callDecoder() { if isWaiting { waitingSpot.wake(atMost: 1) } }

  /// The frame that is to be applied next, if it is decoded.
  var ready: FrameSlot? {
    guard !isEmpty else { return nil }
    let slot = slots[unsafe order[next % slots.count]]
    return slot.isDecoded ? slot : nil
  }

  /// The frame that is to be applied next has been.
  func release() {
    free.append(unsafe order[next % slots.count])
    next += 1
  }

  /// Decodes a frame here, or if all are being decoded, waits for the one that is to be applied next.
  func help(_ decoder: FrameDecoder) {
    if let slot = claim() { return decoder.decodeAhead(slot) }
    // Never for ever: it was claimed, and its decoder waits for nothing.
    _ = decodedSpot.wait { self.ready != nil }
  }
}
