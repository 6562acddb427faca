// SPDX-License-Identifier: Apache-2.0
import HostSystem
import PageCodecs
import PageKernels
import PageModel
import Synchronization
import SystemPackage
import Wire

/// Builds a lane's frames: collects the pages of spans, encodes them, and publishes to the ring.
///
/// What goes into a frame is the business of a ``SpanReader``; with no codec the place where data pages are collected
/// *is* the ring's slot, or they stay where they are and the frame refers to them. Belongs to the lane's thread; allocates
/// nothing after `init`.
final class FrameAssembler {
  /// A frame is closed once it has more bytes than this, deltas included: the next span might not fit.
  private static let closeAboveByteCount =
    (FrameRing.payloadPageCount - PageGeometry.pagesPerSpan) * PageGeometry.pageByteCount
  /// The same for pages that a frame refers to: no slot limits them, and long writes are cheap.
  private static let closeAboveReferredPageCount = WireLimits.framePageCountMax - PageGeometry.pagesPerSpan
  /// Frames in the ring that say that the link is behind; with more, the lane would have waited for it.
  private static let behindFrameCount = 2
  /// Slots that raw frames make use of.
  private static let rawSlotCount = 4
  /// Parts that one span can add: every other page of it.
  private static let spanPartCountMax = PageGeometry.pagesPerSpan / 2
  /// Bytes of a delta part that a codec would not make much of.
  private static let deltaByteCountToEncode = 256

  private let lane: Int
  private let blocks: BlockTable
  private var encoder: LaneEncoder
  private let codecs: CodecSelection
  private let makeEncoder: (CodecPolicy, CodecTally) -> LaneEncoder
  /// The policy that the encoder follows.
  private var codecGeneration = 0
  private let route: LaneRoute
  private let ring: FrameRing
  private let counters: LaneCounters
  /// Raw pages need no checksum: their block has a digest. Then they need not be copied either.
  private let sendsUnsummed: Bool
  private let isStopped: @Sendable () -> Bool
  /// Called when a frame is in the ring, to send it at once, and whether raw frames are all that is to be expected; nil
  /// where the channel has a sender of its own.
  private let sendReady: ((_ isPlain: Bool) throws(LaneError) -> Void)?
  /// Pages on their way to the codec; unused without one.
  private var staging: PageBuffer
  private var deltas: DeltaStaging
  private var records: [SpanRecord] = []
  private var pageCount = 0
  /// Whether data pages are outside the slot: all of a frame's, or none.
  private var refers = false
  private var holdsSlot = false
  /// Nanoseconds that the frame has waited for its slot.
  private var waited: UInt64 = 0
  private var iteration: UInt32 = 0

  init(
    lane: Int, blocks: BlockTable, codecs: CodecSelection, mayEncode: Bool,
    makeEncoder: @escaping (CodecPolicy, CodecTally) -> LaneEncoder, route: LaneRoute, ring: FrameRing,
    counters: LaneCounters,
    sendsUnsummed: Bool, isStopped: @escaping @Sendable () -> Bool,
    sendReady: ((_ isPlain: Bool) throws(LaneError) -> Void)?
  ) throws(LaneError) {
    codecGeneration = codecs.generation.load(ordering: .acquiring)
    let (policy, tally) = codecs.current(lane: lane)
    let stagingPages = mayEncode ? FrameRing.payloadPageCount : 1
    let buffer: PageBuffer
    do throws(Errno) { buffer = try PageBuffer(byteCount: stagingPages * PageGeometry.pageByteCount) } catch {
      throw .noBuffers(error)
    }
    do throws(Errno) { deltas = try DeltaStaging() } catch { throw .noBuffers(error) }
    staging = buffer
    self.codecs = codecs
    self.makeEncoder = makeEncoder
    encoder = makeEncoder(policy, tally)
    self.lane = lane
    self.blocks = blocks
    self.route = route
    self.ring = ring
    self.counters = counters
    self.sendsUnsummed = sendsUnsummed
    self.isStopped = isStopped
    self.sendReady = sendReady
    records.reserveCapacity(WireLimits.frameRecordCountMax)
  }

  func begin(iteration: UInt32) {
    self.iteration = iteration
    waited = 0
    encoder.resume()
  }

  /// Has room for a span's pages.
  /// - Returns: false if the pipeline was stopped.
  func prepare() throws(LaneError) -> Bool {
    if isEmpty {
      if codecs.generation.load(ordering: .relaxed) != codecGeneration { followCodec() }
      guard try followChannels() else { return false }
      try encoder.begin(isBehind: ring.readyCount >= Self.behindFrameCount)
    }
    return ensureSlot()
  }

  /// The number of channels was changed: the lane may feed another from now on.
  ///
  /// The frame that says so is the last on the old channel, and everything is on its stream before the first frame is
  /// given to the new one. So what a receiver may have to wait for was always sent earlier, and no two channels can wait for
  /// each other.
  /// - Returns: false if the pipeline was stopped.
  private func followChannels() throws(LaneError) -> Bool {
    guard let target = route.target else { return true }
    guard ensureSlot() else { return false }
    try publish(
      FrameHeader(
        type: .laneMoved, iteration: iteration, lane: UInt16(lane), channel: UInt16(target.number), bodyChecksum: 0))
    let started = HostClock.now()
    let isSent = ring.waitUntilEmpty(isStopped: isStopped)
    counters.blockedNanoseconds.add(HostClock.now() - started, ordering: .relaxed)
    guard isSent else { return false }
    route.move(to: target)
    encoder.changeChannel()
    return true
  }

  /// The policy was changed: what follows is encoded by another.
  private func followCodec() {
    codecGeneration = codecs.generation.load(ordering: .acquiring)
    let (policy, tally) = codecs.current(lane: lane)
    encoder = makeEncoder(policy, tally)
    encoder.resume()
  }

  private var isEmpty: Bool { records.isEmpty && pageCount == 0 && deltas.count == 0 }

  /// Calls `body` with room for `count` pages, behind those that the frame has.
  func withRoom<Result, Failure: Error>(
    pages count: Int, _ body: (inout MutableRawSpan) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let offset = pageCount * PageGeometry.pageByteCount
    return try withStaging { (staging) throws(Failure) in
      var free = staging._mutatingExtracting(offset..<offset + count * PageGeometry.pageByteCount)
      return try body(&free)
    }
  }

  /// Whether the frame that is being collected may refer to guest memory.
  var takesReferences: Bool { sendsUnsummed && encoder.isRaw && (refers || pageCount == 0) }

  /// Adds whole pages that stay where they are, unchanged, until the frame has been sent; ``note(block:span:zero:data:delta:)``
  /// tells which they are.
  func refer(to pages: RawSpan) {
    refers = true
    ring.refer(to: pages)
  }

  /// Calls `body` with where deltas go, once per span: what it adds belongs to the span's record.
  func withDeltas<Result>(_ body: (inout DeltaStaging) -> Result) -> Result {
    // Where a codec halves what it gets, a page is worth less.
    deltas.capacity = encoder.isRaw ? DeltaPart.deltaByteCountMax : PageGeometry.pageByteCount / 2
    return body(&deltas)
  }

  /// Adds the record of a span whose pages have been put where ``withRoom(pages:_:)`` and ``withDeltas(_:)`` said.
  /// - Parameter data: the pages that were put there, packed in ascending order.
  func note(block: Int, span: Int, zero: PageMask, data: PageMask, delta: PageMask) {
    pageCount += data.nonzeroBitCount
    if zero | data | delta != 0 { add(block: block, span: span, zero: zero, data: data, delta: delta) }
  }

  /// Sends the frame if it has no room for another span.
  /// - Returns: false if the pipeline was stopped.
  func closeIfFull() throws(LaneError) -> Bool {
    // A span may add two records: one for pages read, one for pages compared.
    let isFull =
      records.count > WireLimits.frameRecordCountMax - 2
      || (refers
        ? pageCount > Self.closeAboveReferredPageCount || ring.freePartCount < Self.spanPartCountMax
        : pageCount * PageGeometry.pageByteCount + deltas.byteCount > Self.closeAboveByteCount)
    return isFull ? try close() : true
  }

  /// Adds the record of a span; a run of all-zero spans grows in place.
  private func add(block: Int, span: Int, zero: PageMask, data: PageMask, delta: PageMask) {
    let allZero = data | delta == 0 && zero == blocks.pages(block: block, span: span)
    guard allZero else {
      records.append(.span(block: block, index: span, zero: zero, data: data, delta: delta))
      return
    }
    if case .zeroRun(block, let index, let count)? = records.last, index + count == span {
      records[records.count - 1] = .zeroRun(block: block, index: index, count: count + 1)
    } else {
      records.append(.zeroRun(block: block, index: span, count: 1))
    }
  }

  /// Where pages are collected: the slot's payload, or the staging buffer if a codec comes in between.
  private func withStaging<Result, Failure: Error>(
    _ body: (inout MutableRawSpan) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    if encoder.isRaw {
      return try ring.withSlot { (slot) throws(Failure) in
        var payload = slot._mutatingExtracting(FrameRing.payloadOffset..<FrameRing.slotByteCount)
        return try body(&payload)
      }
    }
    return try staging.withMutableBytes(0..<staging.byteCount, body)
  }

  private func ensureSlot() -> Bool {
    if holdsSlot { return true }
    let started = HostClock.now()
    // Pages that are not encoded need no head start: what they wait for is the link, and `auto` has to see that.
    holdsSlot = ring.waitForSlot(
      among: encoder.isRaw ? Self.rawSlotCount : ring.slotCount, isStopped: isStopped)
    waited = HostClock.now() - started
    counters.blockedNanoseconds.add(waited, ordering: .relaxed)
    return holdsSlot
  }

  /// Sends what has been collected and the lane's end-of-iteration mark.
  /// - Returns: false if the pipeline was stopped.
  func endIteration() throws(LaneError) -> Bool {
    guard try close(), try followChannels(), ensureSlot() else { return false }
    try publish(FrameHeader(type: .endOfIteration, iteration: iteration, lane: UInt16(lane), bodyChecksum: 0))
    return true
  }

  /// Encodes and publishes the current frame, if it holds anything.
  private func close() throws(LaneError) -> Bool {
    guard !records.isEmpty else { return true }
    guard ensureSlot() else { return false }
    let decoded = pageCount * PageGeometry.pageByteCount
    let data = try encode(decoded)
    let delta = encodeDeltas(after: data)
    var flags = data.flags.union(delta.flags)
    if sendsUnsummed, decoded > 0, flags.isEmpty, delta.byteCount == 0 { flags = .dataUnsummed }
    let header = FrameHeader(
      type: .pages, codec: (delta.tag ?? data.tag)?.rawValue ?? 0, flags: flags,
      iteration: iteration, recordCount: records.count, dataByteCount: data.byteCount, deltaByteCount: delta.byteCount,
      dataDecodedByteCount: decoded, deltaDecodedByteCount: deltas.byteCount, lane: UInt16(lane), bodyChecksum: 0)
    let sent = try publish(header)
    if header.deltaByteCount == 0 {
      // With frames before it in the ring, a lane that does not wait is only early: the link is what takes its time.
      encoder.finish(
        data: decoded, wire: FrameHeader.byteCount + header.bodyByteCount, sending: sent.busy,
        waiting: ring.readyCount > Self.behindFrameCount ? nil : sent.waiting + waited)
    } else {
      // What deltas take says nothing about codec and link: the chooser learns from frames without.
      encoder.resume()
    }
    waited = 0
    return true
  }

  /// Puts the delta part into the slot, behind the data part.
  private func encodeDeltas(after data: LaneEncoder.Encoded) -> LaneEncoder.Encoded {
    guard deltas.count > 0 else { return LaneEncoder.Encoded(byteCount: 0) }
    let encoded = deltas.withPart { part in
      ring.withSlot { slot in
        var room = slot._mutatingExtracting(FrameRing.payloadOffset + data.byteCount..<FrameRing.slotByteCount)
        let worthwhile = !encoder.isRaw && part.byteCount >= Self.deltaByteCountToEncode
        if worthwhile, let encoded = encoder.encodeDeltas(part, into: &room) { return encoded }
        var raw = room._mutatingExtracting(0..<part.byteCount)
        raw.copyBytes(of: part)
        return LaneEncoder.Encoded(byteCount: part.byteCount)
      }
    }
    counters.deltaPages.add(UInt64(deltas.count), ordering: .relaxed)
    counters.deltaBytes.add(UInt64(deltas.byteCount), ordering: .relaxed)
    counters.deltaWireBytes.add(UInt64(encoded.byteCount), ordering: .relaxed)
    return encoded
  }

  /// Puts the data part into the slot.
  private func encode(_ decoded: Int) throws(LaneError) -> LaneEncoder.Encoded {
    guard decoded > 0 else { return LaneEncoder.Encoded(byteCount: 0) }
    guard encoder.isRaw else {
      return try staging.withBytes(0..<decoded) { (source) throws(LaneError) in
        try ring.withSlot { (slot) throws(LaneError) in
          var payload = slot._mutatingExtracting(FrameRing.payloadOffset..<FrameRing.slotByteCount)
          return try encoder.encode(source, into: &payload)
        }
      }
    }
    try staging.withMutableBytes(0..<staging.byteCount) { (scratch) throws(LaneError) in
      if refers {
        return try ring.withFirstPart(byteCountMax: LaneEncoder.sampleByteCount) { (sample) throws(LaneError) in
          try encoder.passThrough(decoded, sample: sample, scratch: &scratch)
        }
      }
      try ring.withSlot { (slot) throws(LaneError) in
        let end = FrameRing.payloadOffset + min(decoded, LaneEncoder.sampleByteCount)
        try encoder.passThrough(
          decoded, sample: slot.bytes.extracting(FrameRing.payloadOffset..<end), scratch: &scratch)
      }
    }
    return LaneEncoder.Encoded(byteCount: decoded)
  }

  /// Writes records and header in front of the payload, hands the slot over, and sends it where that is the lane's.
  /// - Returns: nanoseconds of sending, and of waiting for the socket.
  @discardableResult
  private func publish(_ header: FrameHeader) throws(LaneError) -> (busy: UInt64, waiting: UInt64) {
    let recordBytes = records.count * SpanRecord.byteCount
    let start = FrameRing.payloadOffset - recordBytes - FrameHeader.byteCount
    ring.withSlot { slot in
      for (index, record) in records.enumerated() {
        let at = FrameRing.payloadOffset - recordBytes + index * SpanRecord.byteCount
        var target = slot._mutatingExtracting(at..<at + SpanRecord.byteCount)
        record.encode(into: &target)
      }
      var complete = header
      let body = start + FrameHeader.byteCount
      complete.bodyChecksum = PageHash.checksum(slot.bytes.extracting(body..<body + header.summedByteCount))
      var target = slot._mutatingExtracting(start..<start + FrameHeader.byteCount)
      complete.encode(into: &target)
    }
    ring.publish(
      start: start,
      byteCount: FrameHeader.byteCount + header.bodyByteCount - (refers ? header.dataByteCount : 0),
      wakes: sendReady == nil)
    counters.dataPages.add(UInt64(pageCount), ordering: .relaxed)
    counters.frames.add(1, ordering: .relaxed)
    records.removeAll(keepingCapacity: true)
    deltas.removeAll()
    pageCount = 0
    refers = false
    holdsSlot = false
    guard let sendReady else { return (0, 0) }
    let started = (wall: HostClock.now(), cpu: HostClock.threadCPU())
    try sendReady(encoder.isPlain)
    let (wall, busy) = (HostClock.now() - started.wall, HostClock.threadCPU() - started.cpu)
    let waiting = wall - min(wall, busy)
    counters.blockedNanoseconds.add(waiting, ordering: .relaxed)
    return (busy, waiting)
  }
}
