// SPDX-License-Identifier: Apache-2.0
import PageCodecs
import PageModel

extension Case {
  /// Codecs over one span. Never gated: the libraries are the system's, and each version counts differently.
  static var codec: [Case] {
    [SampleData.text, .guest].flatMap { data in
      [
        Case(
          name: "codec/encode-\(data.label)", byteCount: PageGeometry.spanByteCount,
          variants: codecNames.map { name in .timed(name) { try CodecFixture(name, data).encoding() } }),
        Case(
          name: "codec/decode-\(data.label)", byteCount: PageGeometry.spanByteCount,
          variants: codecNames.map { name in .timed(name) { try CodecFixture(name, data).decoding() } }),
      ]
    }
  }
}

private let codecNames = ["lz4", "zstd:1", "deflate:1"]

/// A codec, a span, and the same span encoded.
private struct CodecFixture {
  private let codec: any FrameCodec
  private let plain: Pages
  private let encoded: Pages
  private let encodedByteCount: Int

  init(_ name: String, _ data: SampleData) throws {
    codec = try CodecChoice(parsing: name).make()
    plain = try data.span()
    encoded = try Pages(count: PageGeometry.pagesPerSpan)
    encodedByteCount = Int(encode(codec, plain, encoded, 1))
    precondition(encodedByteCount > 0, "the sample data does not compress")
  }

  func encoding() -> Body { { encode(codec, plain, encoded, $0) } }

  func decoding() throws -> Body {
    let target = try Pages(count: PageGeometry.pagesPerSpan)
    return { decode(codec, encoded, encodedByteCount, target, $0) }
  }
}

/// - Returns: the bytes that the last operation wrote.
@inline(never)
private func encode(_ codec: any FrameCodec, _ source: Pages, _ target: Pages, _ times: Int) -> UInt64 {
  source.read { from in
    target.write { to in
      var written = 0
      for _ in 0..<times { written = codec.encode(from, into: &to) ?? 0 }
      return UInt64(written)
    }
  }
}

@inline(never)
private func decode(
  _ codec: any FrameCodec, _ source: Pages, _ byteCount: Int, _ target: Pages, _ times: Int
) -> UInt64 {
  source.read { from in
    target.write { to in
      for _ in 0..<times {
        do throws(CodecError) { try codec.decode(from.extracting(0..<byteCount), into: &to) } catch {
          fatalError("the sample did not decode: \(error)")
        }
      }
      return UInt64(byteCount)
    }
  }
}
