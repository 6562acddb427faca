// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import HostSystem
import PageKernels
import PageModel
import Synchronization
import Transport
import Wire

/// Writes a channel's frames to guest memory, one after the other. Belongs to the channel's thread.
final class FrameApplier {
  private let channel: Int
  private let memory: any DestinationMemory
  /// The same, if it is mapped here.
  let mapped: (any MappedDestination)?
  private let blocks: BlockTable
  private let counters: ChannelCounters
  /// Where raw pages go.
  private let vector = IOVector()
  /// Of the pages that have arrived since the last mark, per block; nil if they are not wanted, or memory is read back
  /// for them.
  private var digests: [BlockDigest]?
  /// Where in the frame's delta part each delta is, in the order of its records.
  private var places: [Range<Int>] = []

  init(channel: Int, memory: any DestinationMemory, wantsDigests: Bool, counters: ChannelCounters) {
    self.channel = channel
    self.memory = memory
    self.counters = counters
    blocks = memory.blocks
    mapped = memory as? any MappedDestination
    digests = wantsDigests && mapped != nil ? Array(repeating: BlockDigest(), count: blocks.blocks.count) : nil
    places.reserveCapacity(WireLimits.frameRecordCountMax * PageGeometry.pagesPerSpan)
  }

  /// What has arrived since the last call.
  func takeDigests() -> [BlockDigest]? {
    guard let digests else { return nil }
    self.digests = Array(repeating: BlockDigest(), count: digests.count)
    return digests
  }

  /// Checks every delta of a decoded frame, and writes every record's pages.
  func apply(_ slot: FrameSlot) throws(LaneError) {
    if slot.header.deltaDecodedByteCount > 0 {
      let started = HostClock.now()
      try slot.withDeltas { (part) throws(LaneError) in try locate(part, count: slot.body.deltaPageCount) }
      counters.codecNanoseconds.add(HostClock.now() - started, ordering: .relaxed)
    }
    try slot.withData { (data) throws(LaneError) in
      try slot.withDeltas { (deltas) throws(LaneError) in try store(slot.body, data, deltas) }
    }
    note(slot.body)
  }

  /// Receives a frame's raw pages where they belong.
  func receive(_ body: FrameBody, into mapped: any MappedDestination, from connection: Connection) throws(LaneError) {
    // On the CPU: it waits for the link, too.
    let started = HostClock.threadCPU()
    for record in body.records {
      try clear(record)
      guard case .span(let block, let index, _, let pages, _) = record else { continue }
      // At most one part per data page, of which a frame has fewer than the vector has room for.
      unsafe mapped.withRuns(block: block, span: index, pages: pages) { unsafe vector.append($0) }
    }
    do throws(TransportError) { try connection.receive(into: vector) } catch {
      throw .transport(channel: channel, error)
    }
    counters.storeNanoseconds.add(HostClock.threadCPU() - started, ordering: .relaxed)
    note(body)
  }

  /// Counts what was written, and adds the data pages to the digests, from memory: they are still in the cache.
  private func note(_ body: FrameBody) {
    counters.zeroPages.add(UInt64(body.zeroPageCount), ordering: .relaxed)
    counters.dataPages.add(UInt64(body.dataPageCount), ordering: .relaxed)
    counters.deltaPages.add(UInt64(body.deltaPageCount), ordering: .relaxed)
    guard digests != nil, let mapped else { return }
    for record in body.records {
      guard case .span(let block, let index, _, let pages, _) = record, pages != 0 else { continue }
      digests?[block].add(mapped.digest(block: block, span: index, pages: pages))
    }
  }

  /// Finds and checks every delta of the frame, before anything is written.
  private func locate(_ part: RawSpan, count: Int) throws(LaneError) {
    do throws(WireError) {
      try DeltaPart.decode(part, count: count, into: &places)
    } catch { throw .wire(channel: channel, error) }
    do throws(Delta.Fault) {
      for place in places { try Delta.check(part.extracting(place)) }
    } catch { throw .badDelta(channel: channel, error) }
  }

  /// - Parameters:
  ///   - data: the frame's data pages, decoded, in the order of its records.
  ///   - deltas: its delta part, decoded, whose `places` have been checked.
  private func store(_ body: FrameBody, _ data: RawSpan, _ deltas: RawSpan) throws(LaneError) {
    let started = HostClock.now()
    var offset = 0
    var delta = 0
    for record in body.records {
      try clear(record)
      guard case .span(let block, let index, _, let pages, let changed) = record else { continue }
      do throws(GuestMemoryError) {
        if pages != 0 {
          let byteCount = pages.nonzeroBitCount * PageGeometry.pageByteCount
          try memory.store(data.extracting(offset..<offset + byteCount), block: block, span: index, pages: pages)
          offset += byteCount
        }
        if changed != 0 {
          let next = delta + changed.nonzeroBitCount
          try memory.apply(deltas, places: places[delta..<next], block: block, span: index, pages: changed)
          delta = next
        }
      } catch { throw .memory(error) }
    }
    counters.storeNanoseconds.add(HostClock.now() - started, ordering: .relaxed)
  }

  /// Makes a record's zero pages zero.
  private func clear(_ record: SpanRecord) throws(LaneError) {
    do throws(GuestMemoryError) {
      switch record {
      case .span(let block, let index, let zero, _, _):
        if zero != 0 { try memory.clear(block: block, span: index, pages: zero) }
      case .zeroRun(let block, let index, let count):
        for span in index..<index + count {
          try memory.clear(block: block, span: span, pages: blocks.pages(block: block, span: span))
        }
      }
    } catch { throw .memory(error) }
  }
}
