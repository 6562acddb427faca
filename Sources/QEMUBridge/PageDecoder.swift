// SPDX-License-Identifier: Apache-2.0
public import PageCodecs
public import PageKernels

/// Why a page record's content is no page.
public enum PageFault: Error, Equatable, Sendable, CustomStringConvertible {
  case badDelta(Delta.Fault)
  /// Deltas are of pages of 4096 bytes.
  case deltaPageSize(Int)
  case badZlibHeader
  case badZlibStream
  case badZlibChecksum

  public var description: String {
    switch self {
    case .badDelta(let fault): "an XBZRLE page is damaged: \(fault)"
    case .deltaPageSize(let size): "XBZRLE pages of \(size) bytes, only 4096 are known"
    case .badZlibHeader: "a compressed page does not begin as a zlib stream does"
    case .badZlibStream: "a compressed page does not decompress to a page"
    case .badZlibChecksum: "a compressed page's checksum is wrong"
    }
  }
}

/// Makes pages of page records. One thread's.
public final class PageDecoder {
  private let deflate: DeflateCodec

  public init() throws(CodecError) { deflate = try DeflateCodec(level: 1) }

  /// Makes `page` what a record says.
  /// - Parameters:
  ///   - payload: the record's.
  ///   - page: what the destination has, which a delta changes; unspecified after an error.
  public func decode(_ record: PageRecord, _ payload: RawSpan, into page: inout MutableRawSpan) throws(PageFault) {
    switch record.encoding {
    case .zero:
      unsafe page.withUnsafeMutableBytes { _ = unsafe $0.initializeMemory(as: UInt8.self, repeating: record.fill) }
    case .plain:
      unsafe page.withUnsafeMutableBytes { to in
        unsafe payload.withUnsafeBytes { from in unsafe to.copyMemory(from: from) }
      }
    case .xbzrle: try apply(delta: payload, to: &page)
    case .compressed: try inflate(payload, into: &page)
    }
  }

  /// Applies an XBZRLE delta, which may be anything.
  public func apply(delta: RawSpan, to page: inout MutableRawSpan) throws(PageFault) {
    guard page.byteCount == 4096 else { throw .deltaPageSize(page.byteCount) }
    do throws(Delta.Fault) { try Delta.apply(delta, to: &page) } catch { throw .badDelta(error) }
  }

  /// Decodes one zlib stream (RFC 1950), which may be anything, to exactly a page.
  public func inflate(_ stream: RawSpan, into page: inout MutableRawSpan) throws(PageFault) {
    let count = stream.byteCount
    guard count > 6 else { throw .badZlibHeader }
    let (method, flags) = unsafe (
      stream.unsafeLoad(fromByteOffset: 0, as: UInt8.self), stream.unsafeLoad(fromByteOffset: 1, as: UInt8.self)
    )
    // Deflate with a window of at most 32 KiB, and no dictionary.
    guard method & 0xf == 8, method >> 4 <= 7, (UInt(method) << 8 | UInt(flags)).isMultiple(of: 31), flags & 0x20 == 0
    else { throw .badZlibHeader }
    do throws(CodecError) { try deflate.decode(stream.extracting(2..<count - 4), into: &page) } catch {
      throw .badZlibStream
    }
    let checksum = unsafe UInt32(
      bigEndian: stream.unsafeLoadUnaligned(fromByteOffset: count - 4, as: UInt32.self))
    guard checksum == Self.adler(page) else { throw .badZlibChecksum }
  }

  /// Adler-32 (RFC 1950).
  static func adler(_ page: borrowing MutableRawSpan) -> UInt32 {
    unsafe page.withUnsafeBytes { bytes in
      var (sum, sums): (UInt64, UInt64) = (1, 0)
      // Cannot overflow 64 bits for a page of any size.
      for index in 0..<bytes.count {
        sum += UInt64(unsafe bytes[index])
        sums += sum
      }
      return UInt32(sums % 65521) << 16 | UInt32(sum % 65521)
    }
  }
}
