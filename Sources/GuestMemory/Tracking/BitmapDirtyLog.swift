// SPDX-License-Identifier: Apache-2.0
import HostSystem
public import PageModel
import Synchronization
import SystemPackage

/// A dirty log that somebody else keeps as bitmaps, and hands out: KVM's, for authors of a VMM.
///
/// Two kinds of log. With **fetch and clear** (KVM_GET_DIRTY_LOG as it is), fetching a bitmap clears it:
/// ``sync(into:)`` does both, ``rearm(block:spans:)`` has nothing to do and reports nothing. With a `clear` of its own
/// (KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 and KVM_CLEAR_DIRTY_LOG), fetching only looks; `rearm` clears what was fetched
/// last for its stripe, just before the stripe is read. So pages are protected again in small steps, and a page
/// written twice before it is read is sent once.
///
/// KVM's log has what the guest writes. What the VMM itself writes into guest memory (emulated devices, vhost back-ends)
/// is not in it: ``markDirty(block:pages:)`` is for that.
@safe public final class BitmapDirtyLog: MarkableDirtyLog {
  public let method: String

  /// Copies a block's bitmap, bit *i* of word *w* is page 64·*w* + *i*; and clears it, if there is no ``Clear``. Called
  /// for one block at a time.
  /// - Parameters:
  ///   - words: one word for 64 pages; they are zero.
  /// - Returns: 0, or a negated errno.
  public typealias Fetch =
    @Sendable (
      _ block: Int, _ words: UnsafeMutablePointer<UInt64>, _ wordCount: Int
    ) -> CInt

  /// Clears pages in the log, and has their next write noted again. Called from many threads at once.
  /// - Parameters:
  ///   - firstPage: a multiple of 64.
  ///   - pageCount: a multiple of 64, unless the block ends there.
  ///   - words: the pages to clear, the lowest bit of the first word is `firstPage`; others must stay as they are.
  /// - Returns: 0, or a negated errno.
  public typealias Clear =
    @Sendable (
      _ block: Int, _ firstPage: Int, _ pageCount: Int, _ words: UnsafePointer<UInt64>
    ) -> CInt

  private let blocks: BlockTable
  private let fetch: Fetch
  private let clear: Clear?
  private let begin: @Sendable () -> CInt
  private let end: @Sendable () -> Void
  private let marks: MarkedPages
  /// With `clear`: what was fetched, and not cleared since.
  private let fetched: MarkedPages
  /// When each block was fetched last, on the monotonic clock.
  private let fetchedAt: Mutex<[UInt64]>
  /// How old what was fetched may be for a peek.
  private static let peekNanoseconds: UInt64 = 10_000_000
  /// Where bitmaps are fetched to: enough for the largest block.
  private let scratch: Mutex<[UInt64]>

  /// - Parameters:
  ///   - method: how it works, for reports.
  ///   - begin: switches logging on: 0, or a negated errno. Called by ``start()``.
  ///   - end: switches it off. Called by ``stop()``, which may come without a start, and twice.
  public init(
    blocks: BlockTable, method: String = "KVM dirty log", begin: @escaping @Sendable () -> CInt = { 0 },
    end: @escaping @Sendable () -> Void = {}, fetch: @escaping Fetch, clear: Clear? = nil
  ) {
    self.blocks = blocks
    self.method = method
    self.begin = begin
    self.end = end
    unsafe self.fetch = unsafe fetch
    unsafe self.clear = unsafe clear
    marks = MarkedPages(blocks)
    fetched = MarkedPages(blocks)
    fetchedAt = Mutex([UInt64](repeating: 0, count: blocks.blocks.count))
    scratch = Mutex([UInt64](repeating: 0, count: blocks.blocks.map { $0.spanCount }.max() ?? 0))
  }

  public func start() throws(GuestMemoryError) {
    marks.removeAll()
    fetched.removeAll()
    try check(begin(), "starting the dirty log")
    // A log may begin with every page dirty, and none protected (KVM_DIRTY_LOG_INITIALLY_SET): then the first rearm of
    // each stripe is what protects it, and has to know.
    guard unsafe clear != nil else { return }
    for block in 0..<blocks.blocks.count { try fetch(block: block, into: nil) }
  }

  public func sync(into pending: [SpanMap]) throws(GuestMemoryError) {
    for block in 0..<blocks.blocks.count {
      try fetch(block: block, into: pending[block])
      if unsafe clear == nil { marks.take(block: block, to: pending[block]) }
    }
    if unsafe clear != nil { marks.add(to: pending) }
  }

  private func fetch(block: Int, into pending: SpanMap?) throws(GuestMemoryError) {
    let spanCount = blocks.spanCount(block: block)
    let now = HostClock.now()
    fetchedAt.withLock { $0[block] = now }
    try scratch.withLock { words throws(GuestMemoryError) in
      for span in 0..<spanCount { words[span] = 0 }
      let status = unsafe words.withUnsafeMutableBufferPointer { words -> CInt in
        guard let base = words.baseAddress else { return 0 }
        // SAFETY: the scratch has a word for each span of the largest block.
        return unsafe fetch(block, base, spanCount)
      }
      try check(status, "fetching the dirty bitmap")
      for span in 0..<spanCount where words[span] != 0 {
        let pages = words[span] & blocks.pages(block: block, span: span)
        // First what a rearm has to clear, then what makes a lane call it.
        if unsafe clear != nil { fetched.insert(block: block, span: span, pages) }
        pending?.insert(pages, span: span)
      }
    }
  }

  public func rearm(block: Int, spans: Range<Int>) throws(GuestMemoryError) -> StripeMasks {
    var masks = StripeMasks(repeating: 0)
    guard let clear = unsafe clear else { return masks }
    fetched.take(block: block, spans: spans, into: &masks)
    var isClean = true
    for index in 0..<spans.count where masks[index] != 0 { isClean = false }
    if !isClean {
      let first = spans.lowerBound * PageGeometry.pagesPerSpan
      let count = min(spans.count * PageGeometry.pagesPerSpan, blocks.pageCount(block: block) - first)
      let status = unsafe masks.span.withUnsafeBufferPointer { words -> CInt in
        guard let base = words.baseAddress else { return 0 }
        // SAFETY: a word for each of the spans, of which there are at most eight.
        return unsafe clear(block, first, count, base)
      }
      try check(status, "clearing the dirty bitmap")
    }
    marks.take(block: block, spans: spans, into: &masks)
    return masks
  }

  /// With a ``Clear``: what was fetched last, which is fetched anew if that is more than 10 ms ago. A log is fetched
  /// block by block, and whoever looks at one stripe looks at many.
  public func peek(block: Int, spans: Range<Int>) throws(GuestMemoryError) -> StripeMasks? {
    guard unsafe clear != nil else { return nil }
    let now = HostClock.now()
    let isOld = fetchedAt.withLock { now - min(now, $0[block]) >= Self.peekNanoseconds }
    if isOld { try fetch(block: block, into: nil) }
    var masks = StripeMasks(repeating: 0)
    fetched.add(block: block, spans: spans, to: &masks)
    marks.add(block: block, spans: spans, to: &masks)
    return masks
  }

  public func markDirty(block: Int, pages: Range<Int>) { marks.insert(block: block, pages: pages) }

  public func stop() { end() }

  private func check(_ status: CInt, _ step: String) throws(GuestMemoryError) {
    guard status >= 0 else { throw .trackingFailed(step: step, Errno(rawValue: -status)) }
  }
}
