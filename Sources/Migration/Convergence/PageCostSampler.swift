// SPDX-License-Identifier: Apache-2.0
import Convergence
import GuestMemory
import HostSystem
import PageCodecs
import PageKernels
import PageModel

/// What sending a guest's pages would cost, from a few of them: how many are zero, what codecs make of the others, and
/// how long deltas of written pages are. Belongs to one thread; takes some hundredths of a second.
final class PageCostSampler {
  /// Written pages of a span.
  struct Written {
    var block: Int
    var span: Int
    var pages: PageMask
  }

  /// Spans whose pages are looked at, of all and of the written ones.
  private static let spanMax = 48
  /// Written pages of which a copy is kept, one of each span.
  private static let keptMax = 256
  /// What `auto` chooses where the link is the limit, and where it hardly is.
  private static let codecs = ["lz4:1", "zstd:1"]
  private static let pageByteCount = PageGeometry.pageByteCount

  private let memory: ProcessMemorySource
  private var staging: PageBuffer
  private var encoded: PageBuffer
  private var delta: PageBuffer
  /// Copies of pages, and where they are from.
  private var kept: PageBuffer
  private var keptPages: [Written] = []
  private var hotSpans: [Written] = []

  /// Longest delta that is worth having.
  private static let deltaCapacity = pageByteCount * 9 / 10

  /// - Returns: nil if the guest's memory is not mapped here, or there is no room.
  init?(_ memory: any SourceMemory) {
    guard let mapping = memory.mapping else { return nil }
    guard let staging = try? PageBuffer(byteCount: PageGeometry.spanByteCount) else { return nil }
    guard let encoded = try? PageBuffer(byteCount: PageGeometry.spanByteCount * 2) else { return nil }
    guard let delta = try? PageBuffer(byteCount: Self.deltaCapacity + Delta.scratchByteCount) else { return nil }
    guard let kept = try? PageBuffer(byteCount: Self.keptMax * Self.pageByteCount) else { return nil }
    self.memory = mapping
    self.staging = staging
    self.encoded = encoded
    self.delta = delta
    self.kept = kept
  }

  /// Keeps copies of some pages that are being written, to see later how they have changed.
  /// - Parameter spans: written spans, at most as many as asked for.
  func keepWritten(_ spans: (Int) -> [Written]) {
    hotSpans = Array(spans(Self.keptMax).prefix(Self.keptMax))
    keptPages = []
    for span in hotSpans {
      // One page of each: any, but not always the first.
      var rest = span.pages
      for _ in 0..<(rest.nonzeroBitCount - 1) / 2 { rest &= rest - 1 }
      let one = Written(block: span.block, span: span.span, pages: rest & (0 &- rest))
      let place = keptPages.count * Self.pageByteCount
      let count = kept.withMutableBytes(place..<place + Self.pageByteCount) { target in
        snapshot(one, into: &target)
      }
      if count == 1 { keptPages.append(one) }
    }
  }

  /// Copies a span's pages that are not zero.
  /// - Returns: how many.
  private func snapshot(_ span: Written, into target: inout MutableRawSpan) -> Int {
    let pages = span.pages & memory.blocks.pages(block: span.block, span: span.span)
    return memory.withBytes(block: span.block, span: span.span) { bytes in
      Snapshot.take(span: bytes, wanted: pages, into: &target).copiedPageCount
    }
  }

  private func snapshot(_ span: Written) -> Int {
    staging.withMutableBytes(0..<staging.byteCount) { snapshot(span, into: &$0) }
  }

  /// What was found, once the pages that were kept had time to change.
  /// - Parameter populatedPages: pages that may hold something; nil: any.
  func costs(populatedPages: [SpanMap]?) -> PageCosts {
    let total = memory.blocks.pageCount
    let populated = populatedPages.map { $0.reduce(0) { $0 + $1.count() } } ?? total
    let spans = someSpans(populatedPages)
    let looked = spans.reduce(0) { $0 + $1.pages.nonzeroBitCount }
    let data = spans.reduce(0) { $0 + snapshot($1) }
    let populatedShare = Double(populated) / Double(max(1, total))
    let zeroShare = looked == 0 ? 0 : Double(looked - data) / Double(looked) * populatedShare
    let (deltaShare, deltaBytes) = deltas()
    return PageCosts(
      holeShare: 1 - populatedShare, zeroShare: zeroShare, deltaShare: deltaShare, deltaBytesPerPage: deltaBytes,
      codecs: Self.codecs.compactMap { measure($0, spans) })
  }

  /// Populated spans, evenly spread.
  private func someSpans(_ populatedPages: [SpanMap]?) -> [Written] {
    var all: [Written] = []
    for block in memory.blocks.blocks.indices {
      for span in 0..<memory.blocks.spanCount(block: block) {
        let pages = populatedPages?[block].pages(span: span) ?? memory.blocks.pages(block: block, span: span)
        if pages != 0 { all.append(Written(block: block, span: span, pages: pages)) }
      }
    }
    let count = min(Self.spanMax, all.count)
    return (0..<count).map { all[$0 * all.count / count] }
  }

  // MARK: Codecs and deltas

  private func measure(_ name: String, _ spans: [Written]) -> PageCosts.Codec? {
    guard let codec = try? CodecChoice(parsing: name).make() else { return nil }
    guard let all = encode(spans, codec) else { return nil }
    let hot = hotSpans.isEmpty ? nil : encode(Array(hotSpans.prefix(Self.spanMax)), codec)
    return PageCosts.Codec(
      codec: name, bytesPerPage: all.bytes, hotBytesPerPage: hot?.bytes, nanosecondsPerPage: all.nanoseconds)
  }

  /// Frames of a span each, as lanes make them: what does not shrink goes as it is.
  /// - Returns: bytes and CPU time per page, nil if there was no page that is not zero.
  private func encode(_ spans: [Written], _ codec: any FrameCodec) -> (bytes: Double, nanoseconds: Double)? {
    var (pages, bytes, nanoseconds) = (0, 0, UInt64(0))
    for span in spans {
      let count = snapshot(span)
      guard count > 0 else { continue }
      let byteCount = count * Self.pageByteCount
      let started = HostClock.threadCPU()
      let encodedByteCount = staging.withBytes(0..<byteCount) { source -> Int? in
        if Compressibility.looksRandom(pages: source) { return nil }
        return encoded.withMutableBytes(0..<encoded.byteCount) { codec.encode(source, into: &$0) }
      }
      nanoseconds += HostClock.threadCPU() - started
      pages += count
      bytes += min(encodedByteCount ?? byteCount, byteCount)
    }
    return pages == 0 ? nil : (Double(bytes) / Double(pages), Double(nanoseconds) / Double(pages))
  }

  /// Of the pages that have changed since they were kept: the share with a delta that pays, and its bytes.
  private func deltas() -> (share: Double?, bytes: Double?) {
    var (changed, short, bytes) = (0, 0, 0)
    for (index, page) in keptPages.enumerated() where snapshot(page) == 1 {
      let place = index * Self.pageByteCount
      let found = kept.withBytes(place..<place + Self.pageByteCount) { before in
        staging.withBytes(0..<Self.pageByteCount) { after in
          delta.withMutableBytes(0..<delta.byteCount) {
            Delta.encode(from: before, to: after, into: &$0, capacity: Self.deltaCapacity)
          }
        }
      }
      switch found {
      case .unchanged: continue
      case .overflow: changed += 1
      case .delta(let byteCount):
        changed += 1
        short += 1
        bytes += byteCount
      }
    }
    guard changed > 0 else { return (nil, nil) }
    return (Double(short) / Double(changed), short == 0 ? nil : Double(bytes) / Double(short))
  }
}
