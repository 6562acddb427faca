// SPDX-License-Identifier: Apache-2.0
import CDeflate

/// Raw deflate (RFC 1951) through libdeflate, which codes whole buffers twice as fast as zlib and decodes them
/// 1.5 to 2.3 times as fast. For peers and accelerators that speak nothing else.
@safe public final class DeflateCodec: FrameCodec {
  public static let identity = CodecIdentity(
    tag: .deflate, name: "deflate", levelName: "level", levels: 0...12, defaultLevel: 1,
    library: "libdeflate " + LIBDEFLATE_VERSION_STRING,
    summary: "the standard format: what hardware accelerators speak")

  private let compressor: OpaquePointer
  private let decompressor: OpaquePointer

  public init(level: Int) throws(CodecError) {
    guard let compressor = unsafe libdeflate_alloc_compressor(CInt(clamping: level)) else {
      throw .unavailable(codec: "deflate", reason: "libdeflate has no level \(level), or memory ran out")
    }
    guard let decompressor = unsafe libdeflate_alloc_decompressor() else {
      unsafe libdeflate_free_compressor(compressor)
      throw .unavailable(codec: "deflate", reason: "out of memory for a decompressor")
    }
    unsafe self.compressor = compressor
    unsafe self.decompressor = decompressor
  }

  deinit {
    unsafe libdeflate_free_compressor(compressor)
    unsafe libdeflate_free_decompressor(decompressor)
  }

  public func encode(_ source: RawSpan, into destination: inout MutableRawSpan) -> Int? {
    // SAFETY: the library reads source.count bytes and writes at most destination.count.
    let written = unsafe source.withUnsafeBytes { from in
      unsafe destination.withUnsafeMutableBytes { to in
        unsafe libdeflate_deflate_compress(compressor, from.baseAddress, from.count, to.baseAddress, to.count)
      }
    }
    return written > 0 ? written : nil
  }

  public func decode(_ source: RawSpan, into destination: inout MutableRawSpan) throws(CodecError) {
    var used = 0
    // SAFETY: as in encode(). A null count of output asks for exactly destination.count bytes.
    let result = unsafe source.withUnsafeBytes { from in
      unsafe destination.withUnsafeMutableBytes { to in
        unsafe libdeflate_deflate_decompress_ex(
          decompressor, from.baseAddress, from.count, to.baseAddress, to.count, &used, nil)
      }
    }
    // The library does not mind what follows the stream; a frame has nothing there.
    guard result == LIBDEFLATE_SUCCESS, used == source.byteCount else {
      throw .corrupt(codec: "deflate", expected: destination.byteCount)
    }
  }
}
