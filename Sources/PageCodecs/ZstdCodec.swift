// SPDX-License-Identifier: Apache-2.0
import CZstd

/// Zstandard frames (RFC 8878): level 1 about 0.55 GB/s a core at ratio 2.7 on a guest's data pages.
@safe public final class ZstdCodec: FrameCodec {
  public static let identity = CodecIdentity(
    tag: .zstd, name: "zstd", levelName: "level", levels: -100...19, defaultLevel: 1,
    library: "libzstd " + (unsafe String(cString: ZSTD_versionString())),
    summary: "small: for links of 1 Gbit/s and below, and spare cores")

  private let level: CInt
  private let compressor: OpaquePointer
  private let decompressor: OpaquePointer

  public init(level: Int) throws(CodecError) {
    self.level = CInt(clamping: level)
    guard let compressor = unsafe ZSTD_createCCtx() else {
      throw .unavailable(codec: "zstd", reason: "out of memory for a compression context")
    }
    guard let decompressor = unsafe ZSTD_createDCtx() else {
      _ = unsafe ZSTD_freeCCtx(compressor)
      throw .unavailable(codec: "zstd", reason: "out of memory for a decompression context")
    }
    unsafe self.compressor = compressor
    unsafe self.decompressor = decompressor
  }

  deinit {
    _ = unsafe ZSTD_freeCCtx(compressor)
    _ = unsafe ZSTD_freeDCtx(decompressor)
  }

  public func encode(_ source: RawSpan, into destination: inout MutableRawSpan) -> Int? {
    // SAFETY: the library reads source.count bytes and writes at most destination.count.
    let written = unsafe source.withUnsafeBytes { from in
      unsafe destination.withUnsafeMutableBytes { to in
        unsafe ZSTD_compressCCtx(compressor, to.baseAddress, to.count, from.baseAddress, from.count, level)
      }
    }
    return ZSTD_isError(written) == 0 ? written : nil
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
