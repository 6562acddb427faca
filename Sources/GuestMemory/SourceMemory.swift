// SPDX-License-Identifier: Apache-2.0
public import PageKernels
public import PageModel

/// Guest memory that lanes read from. A new kind of source is one file that conforms to this.
///
/// Called from many lanes at once, each for its own spans; once per span, never per page.
public protocol SourceMemory: AnyObject, Sendable {
  /// The guest's RAM blocks.
  var blocks: BlockTable { get }

  /// Copies the pages of `wanted` that are not zero to the start of `staging`, packed in ascending order.
  /// - Parameters:
  ///   - wanted: pages that exist in the span.
  ///   - staging: room for every wanted page.
  func snapshot(
    block: Int, span: Int, wanted: PageMask, into staging: inout MutableRawSpan
  ) throws(GuestMemoryError) -> Snapshot.Result

  /// Says that the stripe which begins at `span` will be read soon. May do nothing.
  func prefetch(block: Int, span: Int)

  /// Pages that may hold data: what the bulk stage has to look at. Pages left out are known to be zero without
  /// being read (holes of a sparse image).
  func presentPages(block: Int) throws(GuestMemoryError) -> SpanMap

  /// The same memory where it is mapped in this process, or nil if it is not. What a running guest needs: its pages
  /// are compared in place with what was sent last.
  var mapping: ProcessMemorySource? { get }

  /// Throws if what was read is no longer what the source holds, in a way that it alone can see.
  func checkUnchanged() throws(GuestMemoryError)
}

extension SourceMemory {
  public func prefetch(block: Int, span: Int) {}
  public var mapping: ProcessMemorySource? { nil }
}
