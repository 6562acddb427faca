// SPDX-License-Identifier: Apache-2.0

/// No compression: every frame travels as it is.
public final class NoneCodec: FrameCodec {
  public static let identity = CodecIdentity(
    tag: .none, name: "none", levelName: nil, levels: 0...0, defaultLevel: 0, library: "built in",
    summary: "pages as they are: for links faster than a core can compress")

  public init(level: Int) {}

  public func encode(_ source: RawSpan, into destination: inout MutableRawSpan) -> Int? { nil }

  public func decode(_ source: RawSpan, into destination: inout MutableRawSpan) throws(CodecError) {
    guard source.byteCount == destination.byteCount else {
      throw .corrupt(codec: "none", expected: destination.byteCount)
    }
    // SAFETY: both spans hold the same number of bytes and do not overlap (one is being exclusively written).
    unsafe source.withUnsafeBytes { from in
      unsafe destination.withUnsafeMutableBytes { unsafe $0.copyMemory(from: from) }
    }
  }
}
