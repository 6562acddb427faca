// SPDX-License-Identifier: Apache-2.0
import CHostSystem
import CZstd

/// Zstandard over a lane's frames as one stream, with a window of many MiB: what was sent once costs next to nothing
/// when it comes again, at any distance and alignment.
///
/// A guest's memory is full of such repetition: file pages and the process pages that were read from them, copies,
/// stale versions. On a real guest's data pages this takes 15 to 25 % off what level 1 makes of frames by themselves.
/// The library finds far matches by its long-distance matcher; both sides hold the window in memory.
///
/// Every frame is flushed, so that it decodes completely when it arrives; but only after the frames before it, in
/// order, back to the one that began the history.
@safe public final class ZstdLongCodec: HistoryCodec {
  public static let identity = CodecIdentity(
    tag: .zstdLong, name: "zstd-long", levelName: "level", levels: -100...19, defaultLevel: 1,
    library: "libzstd " + (unsafe String(cString: ZSTD_versionString())),
    summary: "smallest: zstd that remembers what it sent (--history); for slow links")

  /// Base-2 logarithms of the smallest and the largest window. The smallest holds a frame.
  public static let windowLogs = 19...29

  /// Positions of the long-distance matcher's table, one for so many bytes (as a logarithm): twice as sparse as the
  /// library's choice, which saves a tenth of the time and costs nothing that could be measured.
  private static let matcherRateLog: CInt = 7
  /// The smallest window, as a logarithm, that has that matcher: 8 MiB.
  private static let matchedFromLog: CInt = 23

  /// ZSTD_blockHeaderSize: what a decoder asks for between two blocks.
  private static let blockHeaderByteCount = 3

  private var level: CInt
  private let windowLog: CInt
  private let compressor: OpaquePointer
  private let decompressor: OpaquePointer

  public convenience init(level: Int) throws(CodecError) { try self.init(level: level, historyByteCount: 16 << 20) }

  public init(level: Int, historyByteCount: Int) throws(CodecError) {
    self.level = CInt(clamping: level)
    windowLog = CInt(Self.windowLog(historyByteCount: historyByteCount))
    // Neither context takes more than a few KiB before it is used, so that a lane pays for the one that it uses.
    // With huge pages: each window is as large as the history.
    let memory = unsafe ZSTD_customMem(customAlloc: hs_allocate, customFree: hs_release, opaque: nil)
    guard let compressor = unsafe ZSTD_createCCtx_advanced(memory) else {
      throw .unavailable(codec: "zstd-long", reason: "out of memory for a compression context")
    }
    guard let decompressor = unsafe ZSTD_createDCtx_advanced(memory) else {
      _ = unsafe ZSTD_freeCCtx(compressor)
      throw .unavailable(codec: "zstd-long", reason: "out of memory for a decompression context")
    }
    unsafe self.compressor = compressor
    unsafe self.decompressor = decompressor
    // The window that a hostile frame may ask for is ours to limit.
    _ = unsafe ZSTD_DCtx_setParameter(decompressor, ZSTD_d_windowLogMax, windowLog)
    beginStream()
  }

  deinit {
    _ = unsafe ZSTD_freeCCtx(compressor)
    _ = unsafe ZSTD_freeDCtx(decompressor)
  }

  /// The largest window that fits into `historyByteCount`, as a base-2 logarithm.
  public static func windowLog(historyByteCount: Int) -> Int {
    let log = Int.bitWidth - 1 - max(1, historyByteCount).leadingZeroBitCount
    return min(max(log, windowLogs.lowerBound), windowLogs.upperBound)
  }

  public func restart(level: Int) {
    self.level = CInt(clamping: level)
    restart()
  }

  public func restart() {
    beginStream()
    _ = unsafe ZSTD_DCtx_reset(decompressor, ZSTD_reset_session_only)
  }

  private func beginStream() {
    // None of these can fail: the values are constants of the library's documented range.
    _ = unsafe ZSTD_CCtx_reset(compressor, ZSTD_reset_session_only)
    _ = unsafe ZSTD_CCtx_setParameter(compressor, ZSTD_c_compressionLevel, level)
    _ = unsafe ZSTD_CCtx_setParameter(compressor, ZSTD_c_windowLog, windowLog)
    // A small window is searched whole anyway.
    let isLong = windowLog >= Self.matchedFromLog
    _ = unsafe ZSTD_CCtx_setParameter(compressor, ZSTD_c_enableLongDistanceMatching, isLong ? 1 : 0)
    if isLong { _ = unsafe ZSTD_CCtx_setParameter(compressor, ZSTD_c_ldmHashRateLog, Self.matcherRateLog) }
  }

  public func encode(_ source: RawSpan, into destination: inout MutableRawSpan) -> Int? {
    // A frame that was begun cannot be taken back, so there has to be room for the worst.
    guard destination.byteCount >= ZSTD_compressBound(source.byteCount) else { return nil }
    // SAFETY: the library stays within the two buffers that it is given.
    return unsafe source.withUnsafeBytes { from in
      unsafe destination.withUnsafeMutableBytes { to in
        var input = unsafe ZSTD_inBuffer(src: from.baseAddress, size: from.count, pos: 0)
        var output = unsafe ZSTD_outBuffer(dst: to.baseAddress, size: to.count, pos: 0)
        let left = unsafe ZSTD_compressStream2(compressor, &output, &input, ZSTD_e_flush)
        // With room for the bound one call does it all; anything else is the library's own failure.
        guard ZSTD_isError(left) == 0, left == 0, unsafe input.pos == from.count else { return nil }
        return unsafe output.pos
      }
    }
  }

  public func decode(_ source: RawSpan, into destination: inout MutableRawSpan) throws(CodecError) {
    // SAFETY: as in encode().
    let isComplete = unsafe source.withUnsafeBytes { from in
      unsafe destination.withUnsafeMutableBytes { to in
        var input = unsafe ZSTD_inBuffer(src: from.baseAddress, size: from.count, pos: 0)
        var output = unsafe ZSTD_outBuffer(dst: to.baseAddress, size: to.count, pos: 0)
        var hint = 0
        while unsafe input.pos < input.size || output.pos < output.size {
          let before = unsafe input.pos &+ output.pos
          hint = unsafe ZSTD_decompressStream(decompressor, &output, &input)
          // 0 is the end of a zstd frame, which a lane's stream does not have.
          guard ZSTD_isError(hint) == 0, hint != 0, unsafe input.pos &+ output.pos > before else { return false }
        }
        // A flushed stream stands before a block's header, and has nothing left to give.
        guard hint == Self.blockHeaderByteCount else { return false }
        var surplus: UInt8 = 0
        return unsafe withUnsafeMutablePointer(to: &surplus) { surplus in
          unsafe output = ZSTD_outBuffer(dst: surplus, size: 1, pos: 0)
          _ = unsafe ZSTD_decompressStream(decompressor, &output, &input)
          return unsafe output.pos == 0
        }
      }
    }
    guard isComplete else { throw .corrupt(codec: "zstd-long", expected: destination.byteCount) }
  }
}
