// SPDX-License-Identifier: Apache-2.0
import HostSystem
import PageModel
import Synchronization
import SystemPackage
import Wire

/// A lane's queue of finished frames: single producer (the lane), single consumer (its channel's sender; another one's
/// once the ring is empty and the lane has moved).
///
/// Slots are allocated once. A slot's first page takes the header and the records, right-aligned, and the payload
/// follows at the second page, so that a frame lies in one piece whatever its number of records:
/// ```
/// slot:  | … unused … header records | payload … unused … |
///        0                       4096^
/// ```
/// The payload may lie elsewhere instead, in parts that the slot refers to: guest memory that nobody writes.
/// Lock-free: the producer owns slots [tail, head + slotCount), the consumer [head, tail). Both sides sleep in a
/// ``ParkingSpot`` when there is nothing to do, never while they hold a slot's data back.
@safe final class FrameRing: @unchecked Sendable {
  /// Where a slot's payload begins: header and the most records that a frame can have fill the page before it.
  static let payloadOffset = FrameHeader.byteCount + WireLimits.frameRecordCountMax * SpanRecord.byteCount
  /// Most pages that a lane puts into one frame.
  static let payloadPageCount = 96
  /// A page more than that: what a codec makes of a frame may be larger than the frame, if it cannot be taken back.
  static let slotByteCount = payloadOffset + (payloadPageCount + 1) * PageGeometry.pageByteCount

  /// Keeps the producer's and the consumer's counters on cache lines of their own (128 bytes: adjacent-line prefetch).
  private struct Padded: ~Copyable {
    let count = Atomic<Int>(0)
    let padding = InlineArray<15, Int>(repeating: 0)
  }

  private let tail = Padded()
  private let head = Padded()
  private let memory: PageBuffer
  /// Most parts outside its slot that a frame may have.
  static let partCountMax = 128

  private struct Frame {
    var start: Int32 = 0
    var byteCount: Int32 = 0
    var partCount: Int32 = 0
  }

  private let frames: UnsafeMutablePointer<Frame>
  /// Room for `partCountMax` of each slot.
  private let parts: UnsafeMutablePointer<UnsafeRawBufferPointer>
  /// Of the slot that the producer fills.
  private var partCount = 0
  let slotCount: Int
  /// Where the producer sleeps while the ring is full.
  private let spaceSpot = ParkingSpot()
  /// Where the consumer sleeps; shared by all rings that it drains. The producer's to change, while the ring is empty.
  var frameSpot: ParkingSpot

  /// - Parameter node: that the slots' memory prefers; nil: none.
  init(slotCount: Int, frameSpot: ParkingSpot, node: Int? = nil) throws(Errno) {
    precondition(slotCount > 0 && Self.payloadOffset == PageGeometry.pageByteCount, "the payload is page-aligned")
    memory = try PageBuffer(byteCount: slotCount * Self.slotByteCount, node: node)
    self.slotCount = slotCount
    self.frameSpot = frameSpot
    unsafe frames = .allocate(capacity: slotCount)
    unsafe frames.initialize(repeating: Frame(), count: slotCount)
    unsafe parts = .allocate(capacity: slotCount * Self.partCountMax)
    unsafe parts.initialize(
      repeating: UnsafeRawBufferPointer(start: nil, count: 0), count: slotCount * Self.partCountMax)
  }

  deinit {
    unsafe frames.deallocate()
    unsafe parts.deallocate()
  }

  private func slot(_ count: Int) -> UnsafeMutableRawPointer {
    unsafe memory.unsafeBase + (count % slotCount) * Self.slotByteCount
  }

  // MARK: Producer

  /// Waits until the next slot is free, and fewer than `limit` are in use.
  /// - Returns: false if `isStopped` came true first.
  func waitForSlot(among limit: Int = .max, isStopped: () -> Bool) -> Bool {
    let limit = min(limit, slotCount)
    let next = tail.count.load(ordering: .relaxed)  // Only this thread writes it.
    // Acquiring: pairs with the release in `release(_:)`, so that the consumer is done reading the slot.
    _ = spaceSpot.wait { next - self.head.count.load(ordering: .acquiring) < limit || isStopped() }
    return !isStopped()
  }

  /// Waits until the consumer is done with all that was published: it has been sent.
  /// - Returns: false if `isStopped` came true first.
  func waitUntilEmpty(isStopped: () -> Bool) -> Bool {
    let next = tail.count.load(ordering: .relaxed)  // Only this thread writes it.
    // Acquiring: as in waitForSlot(); who drains the ring next is told by this thread, and so sees it, too.
    _ = spaceSpot.wait { self.head.count.load(ordering: .acquiring) == next || isStopped() }
    return !isStopped()
  }

  /// The slot that the producer fills now; ``waitForSlot(isStopped:)`` must have said yes since the last publish.
  func withSlot<Result, Failure: Error>(
    _ body: (inout MutableRawSpan) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let next = tail.count.load(ordering: .relaxed)
    // SAFETY: the slot lies in `memory`, and is the producer's alone until it is published.
    var span = unsafe MutableRawSpan(_unsafeStart: slot(next), byteCount: Self.slotByteCount)
    return try body(&span)
  }

  /// Parts that the slot can still refer to.
  var freePartCount: Int { Self.partCountMax - partCount }

  /// Has the frame go on with bytes that are not in its slot. They must stay as they are until the frame is released.
  func refer(to bytes: RawSpan) {
    // SAFETY: kept as an address only; the caller promises that the memory outlives the frame.
    unsafe bytes.withUnsafeBytes { bytes in
      let first = (tail.count.load(ordering: .relaxed) % slotCount) * Self.partCountMax
      if partCount > 0, let end = unsafe parts[first + partCount - 1].baseAddress {
        let last = unsafe parts[first + partCount - 1]
        // Neighbours in memory become one part: the kernel takes long ones faster.
        if unsafe end + last.count == bytes.baseAddress {
          unsafe parts[first + partCount - 1] = UnsafeRawBufferPointer(start: end, count: last.count + bytes.count)
          return
        }
      }
      precondition(partCount < Self.partCountMax, "the frame has too many parts")
      unsafe parts[first + partCount] = bytes
      partCount += 1
    }
  }

  /// Calls `body` with the first bytes that the frame refers to, at most `byteCountMax`.
  func withFirstPart<Result, Failure: Error>(
    byteCountMax: Int, _ body: (RawSpan) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    precondition(partCount > 0, "the frame refers to nothing")
    let part = unsafe parts[(tail.count.load(ordering: .relaxed) % slotCount) * Self.partCountMax]
    // SAFETY: the memory is as the caller of refer(to:) promised.
    let bytes = unsafe RawSpan(_unsafeBytes: part)
    return try body(bytes.extracting(0..<min(bytes.byteCount, byteCountMax)))
  }

  /// Hands the filled slot to the consumer, with what it refers to.
  /// - Parameter wakes: whether the consumer may be asleep and has to know.
  func publish(start: Int, byteCount: Int, wakes: Bool = true) {
    let next = tail.count.load(ordering: .relaxed)
    unsafe frames[next % slotCount] = Frame(
      start: Int32(start), byteCount: Int32(byteCount), partCount: Int32(partCount))
    partCount = 0
    tail.count.store(next + 1, ordering: .releasing)  // Pairs with the acquire in readyCount.
    if wakes { frameSpot.wake() }
  }

  // MARK: Consumer

  /// Frames that are ready.
  var readyCount: Int {
    // Acquiring: pairs with the release in publish(), so that a counted frame's bytes are visible.
    tail.count.load(ordering: .acquiring) - head.count.load(ordering: .relaxed)
  }

  /// Frames that are ready for a consumer whose ring this is now; 0 for another.
  ///
  /// The order of the three looks is what makes it safe to ask while the lane moves. Frames that are counted in `tail` were
  /// published before the consumer finds the ring its own, so they are not of a time after it, and what other consumers
  /// released before that time is in `head`.
  func readyCount(ifOurs isOurs: () -> Bool) -> Int {
    let end = tail.count.load(ordering: .acquiring)  // As in readyCount.
    guard isOurs() else { return 0 }
    return end - head.count.load(ordering: .relaxed)
  }

  /// The bytes of the `index`-th ready frame. Valid until it is released.
  @unsafe func frame(_ index: Int) -> UnsafeMutableRawBufferPointer {
    let count = head.count.load(ordering: .relaxed) + index
    let frame = unsafe frames[count % slotCount]
    return unsafe UnsafeMutableRawBufferPointer(start: slot(count) + Int(frame.start), count: Int(frame.byteCount))
  }

  /// The parts outside its slot that the `index`-th ready frame goes on with.
  @unsafe func parts(ofFrame index: Int) -> UnsafeBufferPointer<UnsafeRawBufferPointer> {
    let number = (head.count.load(ordering: .relaxed) + index) % slotCount
    return unsafe UnsafeBufferPointer(
      start: parts + number * Self.partCountMax, count: Int(frames[number].partCount))
  }

  /// Gives the oldest `count` frames' slots back to the producer.
  func release(_ count: Int) {
    let next = head.count.load(ordering: .relaxed) + count
    head.count.store(next, ordering: .releasing)  // Pairs with the acquire in waitForSlot().
    spaceSpot.wake()
  }

  /// Wakes the producer to look at what stopped it.
  func wakeProducer() { spaceSpot.wake() }
}
