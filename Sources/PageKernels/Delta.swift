// SPDX-License-Identifier: Apache-2.0
import CPageKernels

/// XBZRLE deltas of pages, in the format that QEMU publishes: what was kept and what was replaced, in turns.
///
/// There is exactly one delta between two pages, whichever tier makes it, and QEMU's code decodes it. The layout is in
/// `CSupport/PageKernels/include/page_kernels.h`.
public enum Delta {
  /// What an encoder found.
  public enum Result: Equatable, Sendable {
    /// The pages are equal; nothing was written.
    case unchanged
    /// The delta's length in bytes, at the start of the destination.
    case delta(byteCount: Int)
    /// The delta is longer than the capacity: send the page.
    case overflow
  }

  /// Why bytes are not a delta.
  public enum Fault: Error, Equatable, Sendable, CustomStringConvertible {
    /// It ends inside a length, or before the bytes that a length announces.
    case truncated
    /// A length takes more than two bytes.
    case badLength
    /// A run of no bytes where there must be one.
    case emptyRun
    /// The runs lead past the end of the page.
    case pastPage

    public var description: String {
      switch self {
      case .truncated: "it ends too early"
      case .badLength: "a run's length takes more than two bytes"
      case .emptyRun: "a run is empty"
      case .pastPage: "its runs lead past the end of the page"
      }
    }
  }

  /// Bytes that a destination must have beyond the capacity; an encoder uses them as scratch.
  public static let scratchByteCount = Int(PK_DELTA_ROOM)

  /// Encodes what turns `base` into `page`; neither may change meanwhile.
  /// - Parameters:
  ///   - base: exactly 4096 bytes, as is `page`.
  ///   - destination: `capacity` bytes and ``scratchByteCount`` more.
  ///   - capacity: longest delta that is worth having.
  public static func encode(
    from base: RawSpan, to page: RawSpan, into destination: inout MutableRawSpan, capacity: Int,
    tier: KernelTier = .best
  ) -> Result {
    check(base.byteCount, page.byteCount, destination.byteCount, capacity)
    // SAFETY: both pages are whole and the destination has room for capacity and scratch, checked above.
    return unsafe base.withUnsafeBytes { base in
      unsafe page.withUnsafeBytes { page in
        unsafe destination.withUnsafeMutableBytes { to in
          guard let base = base.baseAddress, let page = page.baseAddress, let to = to.baseAddress else {
            return .unchanged
          }
          return Result(unsafe pk_delta_encode(tier.raw, base, page, to, UInt32(capacity)))
        }
      }
    }
  }

  /// Encodes what turns `cached` into `page`, and `cached` becomes the copy of the page that the delta leads to.
  ///
  /// One pass over a page that the guest may be writing to: snapshot, comparison and update of the cache see the same
  /// bytes. `cached` is up to date whatever the result.
  /// - Parameters: as for `encode`.
  public static func update(
    cached: inout MutableRawSpan, to page: RawSpan, into destination: inout MutableRawSpan, capacity: Int,
    tier: KernelTier = .best
  ) -> Result {
    check(cached.byteCount, page.byteCount, destination.byteCount, capacity)
    // SAFETY: as in encode(); the exclusive spans cannot overlap each other.
    return unsafe cached.withUnsafeMutableBytes { cached in
      unsafe page.withUnsafeBytes { page in
        unsafe destination.withUnsafeMutableBytes { to in
          guard let cached = cached.baseAddress, let page = page.baseAddress, let to = to.baseAddress else {
            return .unchanged
          }
          return Result(unsafe pk_delta_update(tier.raw, cached, page, to, UInt32(capacity)))
        }
      }
    }
  }

  /// Checks bytes that may be anything.
  public static func check(_ delta: RawSpan) throws(Fault) {
    // SAFETY: the walk reads `count` bytes and keeps nothing.
    try throwing(unsafe delta.withUnsafeBytes { unsafe pk_delta_check($0.baseAddress, $0.count) })
  }

  /// Applies a delta that may be anything to a page.
  /// - Parameter page: exactly 4096 bytes. After a fault, the runs before it are applied: ``check(_:)`` first where that
  ///   would matter.
  public static func apply(
    _ delta: RawSpan, to page: inout MutableRawSpan, tier: KernelTier = .best
  ) throws(Fault) {
    precondition(page.byteCount == Int(PK_PAGE_BYTES), "a page is 4096 bytes")
    // SAFETY: reads `count` bytes of the delta, writes inside one page, whatever the delta says.
    try throwing(
      unsafe delta.withUnsafeBytes { delta in
        unsafe page.withUnsafeMutableBytes { page in
          guard let base = page.baseAddress else { return PK_DELTA_VALID }
          return unsafe pk_delta_apply(tier.raw, delta.baseAddress, delta.count, base)
        }
      })
  }

  private static func check(_ base: Int, _ page: Int, _ destination: Int, _ capacity: Int) {
    precondition(base == Int(PK_PAGE_BYTES) && page == base, "a page is 4096 bytes")
    precondition(capacity >= 0 && destination - scratchByteCount >= capacity, "destination is too small")
  }

  private static func throwing(_ fault: pk_delta_fault) throws(Fault) {
    switch fault {
    case PK_DELTA_VALID: return
    case PK_DELTA_TRUNCATED: throw .truncated
    case PK_DELTA_LENGTH: throw .badLength
    case PK_DELTA_EMPTY_RUN: throw .emptyRun
    default: throw .pastPage
    }
  }
}

extension Delta.Result {
  fileprivate init(_ length: UInt32) {
    self =
      switch length {
      case PK_DELTA_UNCHANGED: .unchanged
      case PK_DELTA_OVERFLOW: .overflow
      default: .delta(byteCount: Int(length))
      }
  }
}
