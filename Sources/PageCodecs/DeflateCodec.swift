// SPDX-License-Identifier: Apache-2.0
import CDeflateEngines

/// Raw deflate (RFC 1951), for peers and accelerators that speak nothing else.
///
/// ISA-L's igzip encodes at levels 0 to 3 and decodes, where it is installed: level 1 at about 0.7 GB/s a core and a
/// ratio of 2.5 on a guest's data pages, out at 0.8 GB/s. zlib does the rest: in at 0.1 GB/s or less, out at 0.4.
@safe public final class DeflateCodec: FrameCodec {
  public static let identity = CodecIdentity(
    tag: .deflate, name: "deflate", levelName: "level", levels: 0...9, defaultLevel: 1,
    library: DeflateEngine.library(isal: DeflateEngine.isal.version, zlib: DeflateEngine.zlib.version ?? ""),
    advice: DeflateEngine.advice, summary: "the standard format: what hardware accelerators speak")

  private let encoder: OpaquePointer
  private let decoder: OpaquePointer

  public convenience init(level: Int) throws(CodecError) {
    guard Self.identity.levels.contains(level) else {
      throw .badLevel(codec: "deflate", found: "\(level)", allowed: Self.identity.levels)
    }
    let engine = DeflateEngine.encoding(level: level)
    // zlib's level 0 only copies; a frame that is to travel as it is does so without a codec.
    try self.init(
      encoding: engine, level: max(level, engine.levels.lowerBound), decoding: DeflateEngine.decoding)
  }

  /// A codec that does everything with one engine, at one of its own levels; for tests.
  convenience init(level: Int, engine: DeflateEngine) throws(CodecError) {
    try self.init(encoding: engine, level: level, decoding: engine)
  }

  private init(encoding: DeflateEngine, level: Int, decoding: DeflateEngine) throws(CodecError) {
    guard let encoder = unsafe de_encoder_create(encoding.raw, CInt(clamping: level)) else {
      throw .unavailable(codec: "deflate", reason: "\(encoding.name) has no level \(level) here, or memory ran out")
    }
    guard let decoder = unsafe de_decoder_create(decoding.raw) else {
      unsafe de_encoder_destroy(encoder)
      throw .unavailable(codec: "deflate", reason: "\(decoding.name) cannot be had here, or memory ran out")
    }
    unsafe self.encoder = encoder
    unsafe self.decoder = decoder
  }

  deinit {
    unsafe de_encoder_destroy(encoder)
    unsafe de_decoder_destroy(decoder)
  }

  public func encode(_ source: RawSpan, into destination: inout MutableRawSpan) -> Int? {
    // SAFETY: reads source.count bytes and writes at most destination.count; the encoder is ours alone.
    let written = unsafe source.withUnsafeBytes { from in
      unsafe destination.withUnsafeMutableBytes { to in
        unsafe de_encode(encoder, from.baseAddress, from.count, to.baseAddress, to.count)
      }
    }
    return written > 0 ? written : nil
  }

  public func decode(_ source: RawSpan, into destination: inout MutableRawSpan) throws(CodecError) {
    // SAFETY: as in encode(), whatever the source holds.
    let isWhole = unsafe source.withUnsafeBytes { from in
      unsafe destination.withUnsafeMutableBytes { to in
        unsafe de_decode(decoder, from.baseAddress, from.count, to.baseAddress, to.count)
      }
    }
    guard isWhole else { throw .corrupt(codec: "deflate", expected: destination.byteCount) }
  }
}
