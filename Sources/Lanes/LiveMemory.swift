// SPDX-License-Identifier: Apache-2.0
public import GuestMemory
import PageKernels
import PageModel

/// The memory of a guest that runs, as lanes read it while it changes.
public enum LiveMemory: Sendable {
  /// Mapped here, each block in one piece.
  case mapped(ProcessMemorySource)
  /// Each page for itself.
  case pooled(PagePool)

  /// Calls `body` with a page's bytes.
  /// - Parameter page: of the span.
  func withPage<Result>(block: Int, span: Int, page: Int, _ body: (RawSpan) -> Result) -> Result {
    switch self {
    case .mapped(let memory):
      memory.withBytes(block: block, span: span) { bytes in
        body(bytes.extracting(page * PageGeometry.pageByteCount..<(page + 1) * PageGeometry.pageByteCount))
      }
    case .pooled(let memory): memory.withPage(block: block, page: span * PageGeometry.pagesPerSpan + page, body)
    }
  }

  /// As ``Snapshot/take(span:wanted:into:hashes:seed:tier:)``.
  func snapshot(
    block: Int, span: Int, wanted: PageMask, into staging: inout MutableRawSpan, hashes: inout MutableSpan<UInt64>,
    seed: UInt64
  ) -> Snapshot.Result {
    switch self {
    case .mapped(let memory):
      memory.withBytes(block: block, span: span) { bytes in
        Snapshot.take(span: bytes, wanted: wanted, into: &staging, hashes: &hashes, seed: seed)
      }
    case .pooled(let memory):
      memory.snapshot(block: block, span: span, wanted: wanted, into: &staging, hashes: &hashes, seed: seed)
    }
  }
}
