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
  private let codec: (any FrameCodec)?
  private let codecTag: UInt8
  private let ring: FrameRing
  private let counters: LaneCounters
  private let isStopped: @Sendable () -> Bool
  /// Called when a frame is in the ring: sends it at once where the lane is its channel's sender.
  private let afterPublish: () throws(LaneError) -> Void
  /// Pages on their way to the codec; unused without one.
  private var staging: PageBuffer
  private var records: [SpanRecord] = []
  private var pageCount = 0
  private var holdsSlot = false
  private var iteration: UInt32 = 0
  /// What the lane has read, per block, if digests are wanted.
  private var digests: [BlockDigest]
  private let wantsDigests: Bool

  init(
    lane: Int, memory: any SourceMemory, codec choice: CodecChoice, ring: FrameRing, counters: LaneCounters,
    wantsDigests: Bool, isStopped: @escaping @Sendable () -> Bool,
    afterPublish: @escaping () throws(LaneError) -> Void
  ) throws(LaneError) {
    let stagingPages = choice.tag == .none ? 1 : FrameRing.payloadPageCount
    let buffer: PageBuffer
    do throws(Errno) {
      buffer = try PageBuffer(byteCount: stagingPages * PageGeometry.pageByteCount)
    } catch { throw .noBuffers(error) }
    do throws(CodecError) { codec = choice.tag == .none ? nil : try choice.make() } catch { throw .codec(error) }
    staging = buffer
    codecTag = choice.tag.rawValue
    self.lane = lane
    self.memory = memory
    blocks = memory.blocks
    self.ring = ring
    self.counters = counters
    self.wantsDigests = wantsDigests
    self.isStopped = isStopped
    self.afterPublish = afterPublish
    records.reserveCapacity(WireLimits.frameRecordCountMax)
    digests = Array(repeating: BlockDigest(), count: memory.blocks.blocks.count)
  }

  func begin(iteration: UInt32) { self.iteration = iteration }

  /// Adds the pages of `wanted` to the current frame.
  /// - Returns: false if the pipeline was stopped.
  func add(block: Int, span: Int, wanted: PageMask) throws(LaneError) -> Bool {
    guard ensureSlot() else { return false }
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
    if codec == nil {
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
    counters.blockedNanoseconds.add(HostClock.now() - started, ordering: .relaxed)
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
    let encoded = encode(decoded)
    try publish(
      FrameHeader(
        type: .pages, codec: encoded == nil ? 0 : codecTag, flags: encoded == nil ? [] : .dataEncoded,
        iteration: iteration, recordCount: records.count, dataByteCount: encoded ?? decoded,
        dataDecodedByteCount: decoded, lane: UInt16(lane), bodyChecksum: 0))
    return true
  }

  /// Puts the data part into the slot: encoded if that saves at least 1/32, raw otherwise.
  /// - Returns: its encoded length, or nil if it is raw.
  private func encode(_ decoded: Int) -> Int? {
    guard let codec, decoded > 0 else { return nil }
    let started = HostClock.now()
    let encoded = staging.withBytes(0..<decoded) { source in
      ring.withSlot { slot -> Int? in
        let limit = decoded - decoded / 32
        var target = slot._mutatingExtracting(FrameRing.payloadOffset..<FrameRing.payloadOffset + limit)
        if let count = codec.encode(source, into: &target) { return count }
        var raw = slot._mutatingExtracting(FrameRing.payloadOffset..<FrameRing.payloadOffset + decoded)
        raw.copyBytes(of: source)
        return nil
      }
    }
    counters.codecNanoseconds.add(HostClock.now() - started, ordering: .relaxed)
    if let encoded {
      counters.codecBytesIn.add(UInt64(decoded), ordering: .relaxed)
      counters.codecBytesOut.add(UInt64(encoded), ordering: .relaxed)
    } else {
      counters.bypassedPages.add(UInt64(pageCount), ordering: .relaxed)
    }
    return encoded
  }

  /// Writes records and header in front of the payload, and hands the slot over.
  private func publish(_ header: FrameHeader) throws(LaneError) {
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
    try afterPublish()
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

extension MutableRawSpan {
  /// Copies `source`, which has as many bytes.
  fileprivate mutating func copyBytes(of source: RawSpan) {
    precondition(byteCount == source.byteCount, "both have the same length")
    // SAFETY: same length by the precondition; self is exclusively held, so they cannot overlap.
    unsafe withUnsafeMutableBytes { to in unsafe source.withUnsafeBytes { unsafe to.copyMemory(from: $0) } }
  }
}
