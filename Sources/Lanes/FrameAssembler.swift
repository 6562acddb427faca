// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import HostSystem
import PageCodecs
import PageKernels
import PageModel
import Synchronization
import SystemPackage
import Wire

/// Builds a lane's frames: takes spans, classifies their pages, encodes, and publishes to the ring.
///
/// The page path of the engine. Each page is read from guest memory once, into staging that stays in the L2 cache;
/// classification, codec, checksum and digest all see that copy. With no codec the staging *is* the ring's slot.
/// Belongs to the lane's thread; allocates nothing after `init`.
final class FrameAssembler {
  /// A frame is closed once it has more pages than this: the next span might not fit.
  private static let closeAbovePageCount = FrameRing.payloadPageCount - PageGeometry.pagesPerSpan

  private let lane: Int
  private let memory: any SourceMemory
  private let blocks: BlockTable
  private let encoder: LaneEncoder
  private let ring: FrameRing
  private let counters: LaneCounters
  private let isStopped: @Sendable () -> Bool
  /// Called when a frame is in the ring, to send it at once; nil where the channel has a sender of its own.
  private let sendReady: (() throws(LaneError) -> Void)?
  /// Pages on their way to the codec; unused without one.
  private var staging: PageBuffer
  private var records: [SpanRecord] = []
  private var pageCount = 0
  private var holdsSlot = false
  /// Nanoseconds that the frame has waited for its slot.
  private var waited: UInt64 = 0
  private var iteration: UInt32 = 0
  /// What the lane has read, per block, if digests are wanted.
  private var digests: [BlockDigest]
  private let wantsDigests: Bool

  init(
    lane: Int, memory: any SourceMemory, encoder: LaneEncoder, ring: FrameRing, counters: LaneCounters,
    wantsDigests: Bool, isStopped: @escaping @Sendable () -> Bool, sendReady: (() throws(LaneError) -> Void)?
  ) throws(LaneError) {
    let stagingPages = encoder.needsStaging ? FrameRing.payloadPageCount : 1
    let buffer: PageBuffer
    do throws(Errno) {
      buffer = try PageBuffer(byteCount: stagingPages * PageGeometry.pageByteCount)
    } catch { throw .noBuffers(error) }
    staging = buffer
    self.encoder = encoder
    self.lane = lane
    self.memory = memory
    blocks = memory.blocks
    self.ring = ring
    self.counters = counters
    self.wantsDigests = wantsDigests
    self.isStopped = isStopped
    self.sendReady = sendReady
    records.reserveCapacity(WireLimits.frameRecordCountMax)
    digests = Array(repeating: BlockDigest(), count: memory.blocks.blocks.count)
  }

  func begin(iteration: UInt32) {
    self.iteration = iteration
    waited = 0
    encoder.resume()
  }

  /// Adds the pages of `wanted` to the current frame.
  /// - Returns: false if the pipeline was stopped.
  func add(block: Int, span: Int, wanted: PageMask) throws(LaneError) -> Bool {
    guard ensureSlot() else { return false }
    if records.isEmpty { try encoder.begin() }
    let started = HostClock.now()
    let offset = pageCount * PageGeometry.pageByteCount
    let room = wanted.nonzeroBitCount * PageGeometry.pageByteCount
    let result = try withStaging { (staging: inout MutableRawSpan) -> Result<Snapshot.Result, GuestMemoryError> in
      var free = staging._mutatingExtracting(offset..<offset + room)
      do throws(GuestMemoryError) {
        return .success(try memory.snapshot(block: block, span: span, wanted: wanted, into: &free))
      } catch { return .failure(error) }
    }.mapped()
    let data = wanted & ~result.zeroMask
    if wantsDigests, data != 0 { digest(block: block, span: span, pages: data, offset: offset) }
    counters.snapshotNanoseconds.add(HostClock.now() - started, ordering: .relaxed)
    counters.zeroPages.add(UInt64(result.zeroMask.nonzeroBitCount), ordering: .relaxed)
    pageCount += result.copiedPageCount
    note(block: block, span: span, zero: result.zeroMask, data: data)
    return pageCount > Self.closeAbovePageCount || records.count == WireLimits.frameRecordCountMax ? try close() : true
  }

  /// Adds the record of a span; a run of all-zero spans grows in place.
  private func note(block: Int, span: Int, zero: PageMask, data: PageMask) {
    let allZero = data == 0 && zero == blocks.pages(block: block, span: span)
    guard allZero else {
      records.append(.span(block: block, index: span, zero: zero, data: data, delta: 0))
      return
    }
    if case .zeroRun(block, let index, let count)? = records.last, index + count == span {
      records[records.count - 1] = .zeroRun(block: block, index: index, count: count + 1)
    } else {
      records.append(.zeroRun(block: block, index: span, count: 1))
    }
  }

  private func digest(block: Int, span: Int, pages: PageMask, offset: Int) {
    var digest = digests[block]
    withStaging { staging in
      var at = offset
      var rest = pages
      while rest != 0 {
        let number = UInt64(span * PageGeometry.pagesPerSpan + rest.trailingZeroBitCount)
        digest.add(page: staging.bytes.extracting(at..<at + PageGeometry.pageByteCount), number: number)
        at += PageGeometry.pageByteCount
        rest &= rest &- 1
      }
    }
    digests[block] = digest
  }

  /// Where pages are collected: the slot's payload, or the staging buffer if a codec comes in between.
  private func withStaging<Result>(_ body: (inout MutableRawSpan) -> Result) -> Result {
    if encoder.isRaw {
      return ring.withSlot { slot in
        var payload = slot._mutatingExtracting(FrameRing.payloadOffset..<FrameRing.slotByteCount)
        return body(&payload)
      }
    }
    return staging.withMutableBytes(0..<staging.byteCount) { body(&$0) }
  }

  private func ensureSlot() -> Bool {
    if holdsSlot { return true }
    let started = HostClock.now()
    holdsSlot = ring.waitForSlot(isStopped: isStopped)
    waited = HostClock.now() - started
    counters.blockedNanoseconds.add(waited, ordering: .relaxed)
    return holdsSlot
  }

  /// The digests of what was read since this was last called, per block.
  func takeDigests() -> [BlockDigest] {
    defer { digests = Array(repeating: BlockDigest(), count: digests.count) }
    return digests
  }

  /// Sends what has been collected and the lane's end-of-iteration mark.
  /// - Returns: false if the pipeline was stopped.
  func endIteration() throws(LaneError) -> Bool {
    guard try close(), ensureSlot() else { return false }
    try publish(FrameHeader(type: .endOfIteration, iteration: iteration, lane: UInt16(lane), bodyChecksum: 0))
    return true
  }

  /// Encodes and publishes the current frame, if it holds anything.
  private func close() throws(LaneError) -> Bool {
    guard !records.isEmpty else { return true }
    guard ensureSlot() else { return false }
    let decoded = pageCount * PageGeometry.pageByteCount
    let data = try encode(decoded)
    let header = FrameHeader(
      type: .pages, codec: data.tag?.rawValue ?? 0, flags: data.flags, iteration: iteration,
      recordCount: records.count, dataByteCount: data.byteCount, dataDecodedByteCount: decoded, lane: UInt16(lane),
      bodyChecksum: 0)
    let sent = try publish(header)
    encoder.finish(
      data: decoded, wire: FrameHeader.byteCount + header.bodyByteCount, sending: sent.busy,
      waiting: sent.waiting + waited)
    waited = 0
    return true
  }

  /// Puts the data part into the slot.
  private func encode(_ decoded: Int) throws(LaneError) -> LaneEncoder.Encoded {
    guard decoded > 0 else { return LaneEncoder.Encoded(byteCount: 0) }
    guard encoder.isRaw else {
      return staging.withBytes(0..<decoded) { source in
        ring.withSlot { slot in
          var payload = slot._mutatingExtracting(FrameRing.payloadOffset..<FrameRing.slotByteCount)
          return encoder.encode(source, into: &payload)
        }
      }
    }
    try staging.withMutableBytes(0..<staging.byteCount) { (scratch) throws(LaneError) in
      try ring.withSlot { (slot) throws(LaneError) in
        let payload = slot.bytes.extracting(FrameRing.payloadOffset..<FrameRing.payloadOffset + decoded)
        try encoder.passThrough(payload, scratch: &scratch)
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
      complete.bodyChecksum = PageHash.checksum(slot.bytes.extracting(body..<body + header.bodyByteCount))
      var target = slot._mutatingExtracting(start..<start + FrameHeader.byteCount)
      complete.encode(into: &target)
    }
    ring.publish(start: start, byteCount: FrameHeader.byteCount + header.bodyByteCount)
    counters.dataPages.add(UInt64(pageCount), ordering: .relaxed)
    counters.frames.add(1, ordering: .relaxed)
    records.removeAll(keepingCapacity: true)
    pageCount = 0
    holdsSlot = false
    guard let sendReady else { return (0, 0) }
    let started = (wall: HostClock.now(), cpu: HostClock.threadCPU())
    try sendReady()
    let (wall, busy) = (HostClock.now() - started.wall, HostClock.threadCPU() - started.cpu)
    let waiting = wall - min(wall, busy)
    counters.blockedNanoseconds.add(waiting, ordering: .relaxed)
    return (busy, waiting)
  }
}

extension Result where Failure == GuestMemoryError {
  fileprivate func mapped() throws(LaneError) -> Success {
    switch self {
    case .success(let value): return value
    case .failure(let error): throw .memory(error)
    }
  }
}
