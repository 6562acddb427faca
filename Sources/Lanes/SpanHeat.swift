// SPDX-License-Identifier: Apache-2.0
public import GuestMemory
public import PageModel

/// How often each span was found dirty, sync after sync: a span that is dirtied again and again is *hot*.
///
/// What is sent of a hot span is soon stale, so it goes last. The session updates this between iterations, lanes read
/// it during them; the pipeline's start of an iteration orders the two.
@safe public final class SpanHeat: @unchecked Sendable {
  /// Dirty in this many syncs in a row, or nearly: hot.
  private static let threshold: UInt8 = 2

  private let heat: [UnsafeMutableBufferPointer<UInt8>]

  public init(_ blocks: BlockTable) {
    unsafe heat = blocks.blocks.map { block in
      let bytes = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: block.spanCount)
      unsafe bytes.initialize(repeating: 0)
      return unsafe bytes
    }
  }

  deinit { unsafe heat.forEach { unsafe $0.deallocate() } }

  /// Notes what a sync found.
  /// - Returns: pages that are pending in hot spans, and in all others.
  public func update(from pending: [SpanMap]) -> (hot: Int, cool: Int) {
    var (hot, cool) = (0, 0)
    for block in pending.indices {
      for span in 0..<pending[block].spanCount {
        let count = pending[block].pages(span: span).nonzeroBitCount
        let before = unsafe heat[block][span]
        let now = count == 0 ? before / 2 : min(before, .max - 1) + 1
        unsafe heat[block][span] = now
        if now >= Self.threshold { hot += count } else { cool += count }
      }
    }
    return (hot, cool)
  }

  /// Whether a span is hot.
  func isHot(block: Int, span: Int) -> Bool { unsafe heat[block][span] >= Self.threshold }
}
