// SPDX-License-Identifier: Apache-2.0
import CReferences
import PageKernels
import PageModel

/// Another project's kernels, from a shared library that `perf/peers/build` made.
struct Peer: Sendable {
  /// What its lines in a table are called.
  static let label = "peer"

  let zeroCheck: ZeroCheck?
  let encoder: Encoder?
  let decoder: Decoder?

  /// Loads the library and checks it against our kernels.
  /// - Throws: ``PeerError``.
  init(path: String) throws {
    var kernels = ref_peer()
    // The loader looks for a name without a slash among the system's libraries.
    // SAFETY: the call fills in the structure; the library, and so a message, stays.
    if let reason = unsafe ref_load_peer(path.contains("/") ? path : "./\(path)", &kernels) {
      throw PeerError(message: "the peer \(path) cannot be used: \(unsafe String(cString: reason))")
    }
    zeroCheck = unsafe kernels.page_is_zero.map { unsafe ZeroCheck(function: $0) }
    encoder = unsafe kernels.delta_encode.map { unsafe Encoder(function: $0) }
    decoder = unsafe kernels.delta_decode.map { unsafe Decoder(function: $0) }
    var check = try PeerCheck(self)
    try check.samples()
  }

  /// `peer_page_is_zero`.
  @safe struct ZeroCheck: @unchecked Sendable {
    fileprivate let function: @convention(c) (UnsafeRawPointer?) -> CInt

    func callAsFunction(_ page: RawSpan) -> Bool {
      precondition(page.byteCount == PageGeometry.pageByteCount, "a page is 4096 bytes")
      // SAFETY: a peer is trusted to read the page that it is given, and no more.
      return unsafe page.withUnsafeBytes { unsafe function($0.baseAddress) != 0 }
    }
  }

  /// `peer_delta_encode`.
  @safe struct Encoder: @unchecked Sendable {
    fileprivate let function:
      @convention(c) (UnsafePointer<UInt8>?, UnsafePointer<UInt8>?, CInt, UnsafeMutablePointer<UInt8>?, CInt) -> CInt

    /// As `Delta.encode`.
    func callAsFunction(
      from base: RawSpan, to page: RawSpan, into destination: inout MutableRawSpan, capacity: Int
    ) -> Delta.Result {
      precondition(base.byteCount == PageGeometry.pageByteCount && page.byteCount == base.byteCount, "whole pages")
      precondition(destination.byteCount >= capacity, "destination is too small")
      // SAFETY: a peer is trusted with what its header says: it reads two pages and writes at most `capacity` bytes.
      let length = unsafe base.withUnsafeBytes { base in
        unsafe page.withUnsafeBytes { page in
          unsafe destination.withUnsafeMutableBytes { to in
            unsafe function(
              base.baseAddress?.assumingMemoryBound(to: UInt8.self),
              page.baseAddress?.assumingMemoryBound(to: UInt8.self), CInt(page.count),
              to.baseAddress?.assumingMemoryBound(to: UInt8.self), CInt(capacity))
          }
        }
      }
      return length == 0 ? .unchanged : length < 0 ? .overflow : .delta(byteCount: Int(length))
    }
  }

  /// `peer_delta_decode`.
  @safe struct Decoder: @unchecked Sendable {
    fileprivate let function: @convention(c) (UnsafePointer<UInt8>?, CInt, UnsafeMutablePointer<UInt8>?, CInt) -> CInt

    /// - Returns: whether the peer takes it for a delta.
    func callAsFunction(_ delta: RawSpan, to page: inout MutableRawSpan) -> Bool {
      precondition(page.byteCount == PageGeometry.pageByteCount, "a page is 4096 bytes")
      // SAFETY: as above: it reads the delta and writes inside the page.
      return unsafe delta.withUnsafeBytes { delta in
        unsafe page.withUnsafeMutableBytes { page in
          unsafe function(
            delta.baseAddress?.assumingMemoryBound(to: UInt8.self), CInt(delta.count),
            page.baseAddress?.assumingMemoryBound(to: UInt8.self), CInt(page.count)) >= 0
        }
      }
    }
  }
}

/// Why a peer cannot be compared, as a sentence.
struct PeerError: Error {
  let message: String
}
