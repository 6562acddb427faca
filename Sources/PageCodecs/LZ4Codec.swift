// SPDX-License-Identifier: Apache-2.0
import CLZ4

/// LZ4 blocks (lz4.h): about 1 GB/s a core in, 4 GB/s out; ratio about 2 on a guest's data pages.
@safe public final class LZ4Codec: FrameCodec {
  public static let identity = CodecIdentity(
    tag: .lz4, name: "lz4", levelName: "acceleration", levels: 1...65537, defaultLevel: 1,
    library: "liblz4 " + (unsafe String(cString: LZ4_versionString())),
    summary: "fast: for 10 Gbit/s links and busy hosts")

  private let acceleration: CInt
  private let state: UnsafeMutableRawPointer

  public init(level: Int) throws(CodecError) {
    acceleration = CInt(clamping: level)
    unsafe state = .allocate(byteCount: Int(LZ4_sizeofState()), alignment: 16)
    // The fast-reset call below wants a state that was zero once.
    unsafe state.initializeMemory(as: UInt8.self, repeating: 0, count: Int(LZ4_sizeofState()))
  }

  deinit { unsafe state.deallocate() }

  public func encode(_ source: RawSpan, into destination: inout MutableRawSpan) -> Int? {
    // SAFETY: the library reads source.count bytes, writes at most destination.count, and the state is ours alone.
    let written = unsafe source.withUnsafeBytes { from in
      unsafe destination.withUnsafeMutableBytes { to in
        unsafe LZ4_compress_fast_extState(
          state, from.baseAddress?.assumingMemoryBound(to: CChar.self),
          to.baseAddress?.assumingMemoryBound(to: CChar.self), CInt(from.count), CInt(to.count), acceleration)
      }
    }
    return written > 0 ? Int(written) : nil
  }

  public func decode(_ source: RawSpan, into destination: inout MutableRawSpan) throws(CodecError) {
    // SAFETY: LZ4_decompress_safe bounds every read by source.count and every write by destination.count.
    let written = unsafe source.withUnsafeBytes { from in
      unsafe destination.withUnsafeMutableBytes { to in
        unsafe LZ4_decompress_safe(
          from.baseAddress?.assumingMemoryBound(to: CChar.self), to.baseAddress?.assumingMemoryBound(to: CChar.self),
          CInt(from.count), CInt(to.count))
      }
    }
    guard Int(written) == destination.byteCount else { throw .corrupt(codec: "lz4", expected: destination.byteCount) }
  }
}
