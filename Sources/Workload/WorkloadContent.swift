// SPDX-License-Identifier: Apache-2.0
import PageModel

/// What a guest's memory holds before anything is written, without a guest: a function of mix, seed and page.
public struct WorkloadContent: Sendable {
  private let content: PageContent

  /// - Parameter byteCount: of the memory, a multiple of 4096, not zero.
  /// - Throws: ``WorkloadError/badMix(found:)``.
  public init(mix: ContentMix, seed: UInt64, byteCount: UInt64) throws(WorkloadError) {
    let plan = WorkloadPlan(pattern: .idle, seed: seed, mix: mix)
    try plan.check(guestByteCount: byteCount)
    content = PageContent(plan, guestByteCount: byteCount)
  }

  /// Whether a page is all zero.
  public func isZero(page: Int) -> Bool { content.initialKind(page) == .zero }

  /// Writes a page's content.
  /// - Parameter bytes: 4096 bytes.
  public func write(page: Int, into bytes: inout MutableRawSpan) {
    precondition(bytes.byteCount == PageGeometry.pageByteCount, "content is written page by page")
    unsafe bytes.withUnsafeMutableBytes { raw in
      guard let base = raw.baseAddress else { return }
      // SAFETY: one page, which is what the span holds.
      unsafe content.write(page, generation: 0, to: base)
    }
  }
}
