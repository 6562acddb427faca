// SPDX-License-Identifier: Apache-2.0
import CZstd

/// Zstandard frames (RFC 8878): level 1 about 0.55 GB/s a core at ratio 2.7 on a guest's data pages.
///
/// At negative levels the library leaves what it found no match for as it is. At -50 and below it finds hardly any,
/// so there it is made to shorten frequent bytes (Huffman) instead, in small chunks, because what is frequent changes:
/// where bytes are few but seldom repeat in a row, as in text, that saves as many as ``LZ4Codec`` in half the time.
@safe public final class ZstdCodec: FrameCodec {
  public static let identity = CodecIdentity(
    tag: .zstd, name: "zstd", levelName: "level", levels: -100...19, defaultLevel: 1,
    library: "libzstd " + (unsafe String(cString: ZSTD_versionString())),
    summary: "small: for links of 1 Gbit/s and below, and spare cores")

  /// From this level down, literals are shortened, and each chunk is a frame by itself.
  private static let shorteningLevel = -50
  private static let chunkByteCount = 32 << 10

  private let level: CInt
  private let shortens: Bool
  private let compressor: OpaquePointer
  private let decompressor: OpaquePointer

  public init(level: Int) throws(CodecError) {
    self.level = CInt(clamping: level)
    shortens = level <= Self.shorteningLevel
    guard let compressor = unsafe ZSTD_createCCtx() else {
      throw .unavailable(codec: "zstd", reason: "out of memory for a compression context")
    }
    guard let decompressor = unsafe ZSTD_createDCtx() else {
      _ = unsafe ZSTD_freeCCtx(compressor)
      throw .unavailable(codec: "zstd", reason: "out of memory for a decompression context")
    }
    unsafe self.compressor = compressor
    unsafe self.decompressor = decompressor
    guard shortens else { return }
    _ = unsafe ZSTD_CCtx_setParameter(compressor, ZSTD_c_compressionLevel, self.level)
    // ZSTD_c_literalCompressionMode, ZSTD_ps_enable. A library that does not know it makes the frames larger, no more.
    _ = unsafe ZSTD_CCtx_setParameter(compressor, ZSTD_c_experimentalParam5, 1)
  }

  deinit {
    _ = unsafe ZSTD_freeCCtx(compressor)
    _ = unsafe ZSTD_freeDCtx(decompressor)
  }

  public func encode(_ source: RawSpan, into destination: inout MutableRawSpan) -> Int? {
    if shortens { return encodeChunks(source, into: &destination) }
    // SAFETY: the library reads source.count bytes and writes at most destination.count.
    let written = unsafe source.withUnsafeBytes { from in
      unsafe destination.withUnsafeMutableBytes { to in
        unsafe ZSTD_compressCCtx(compressor, to.baseAddress, to.count, from.baseAddress, from.count, level)
      }
    }
    return ZSTD_isError(written) == 0 ? written : nil
  }

  /// Decoders take frames one behind the other as one.
  private func encodeChunks(_ source: RawSpan, into destination: inout MutableRawSpan) -> Int? {
    var written = 0
    for start in stride(from: 0, to: source.byteCount, by: Self.chunkByteCount) {
      let chunk = source.extracting(start..<min(start + Self.chunkByteCount, source.byteCount))
      var room = destination._mutatingExtracting(written..<destination.byteCount)
      // SAFETY: as in encode().
      let count = unsafe chunk.withUnsafeBytes { from in
        unsafe room.withUnsafeMutableBytes { to in
          unsafe ZSTD_compress2(compressor, to.baseAddress, to.count, from.baseAddress, from.count)
        }
      }
      guard ZSTD_isError(count) == 0 else { return nil }
      written += count
    }
    return written
  }

  public func decode(_ source: RawSpan, into destination: inout MutableRawSpan) throws(CodecError) {
    // SAFETY: as in encode().
    let written = unsafe source.withUnsafeBytes { from in
      unsafe destination.withUnsafeMutableBytes { to in
        unsafe ZSTD_decompressDCtx(decompressor, to.baseAddress, to.count, from.baseAddress, from.count)
      }
    }
    guard ZSTD_isError(written) == 0, written == destination.byteCount else {
      throw .corrupt(codec: "zstd", expected: destination.byteCount)
    }
  }
}
