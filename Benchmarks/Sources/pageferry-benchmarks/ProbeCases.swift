// SPDX-License-Identifier: Apache-2.0
import PageCodecs
import PageKernels
import PageModel

extension Case {
  /// What a frame of random pages costs on its way through a codec: the probe and the copy, against trying the codec.
  static var probe: [Case] {
    [
      Case(
        name: "probe/random-frame", byteCount: PageGeometry.spanByteCount,
        variants: [
          .timed("lz4") { try tryingCodec("lz4") }, .timed("zstd:1") { try tryingCodec("zstd:1") },
          .timed("zstd:3") { try tryingCodec("zstd:3") }, .timed("deflate:1") { try tryingCodec("deflate:1") },
          .gated("probe+copy") {
            let frame = try SampleData.random.span()
            let slot = try Pages(count: PageGeometry.pagesPerSpan)
            return { probeAndCopy(frame, slot, $0) }
          },
        ]),
      Case(
        name: "probe/text-frame", byteCount: 0,
        variants: [
          .gated("probe") {
            let frame = try SampleData.text.span()
            let slot = try Pages(count: PageGeometry.pagesPerSpan)
            return { probeAndCopy(frame, slot, $0) }
          }
        ]),
    ]
  }

  private static func tryingCodec(_ name: String) throws -> Body {
    let codec = try CodecChoice(parsing: name).make()
    let frame = try SampleData.random.span()
    let slot = try Pages(count: PageGeometry.pagesPerSpan)
    return { tryAndCopy(codec, frame, slot, $0) }
  }
}

@inline(never)
private func probeAndCopy(_ frame: Pages, _ slot: Pages, _ times: Int) -> UInt64 {
  frame.read { from in
    slot.write { to in
      var random: UInt64 = 0
      for _ in 0..<times where Compressibility.looksRandom(pages: from) {
        to.copyBytes(of: from)
        random &+= 1
      }
      return random
    }
  }
}

@inline(never)
private func tryAndCopy(_ codec: any FrameCodec, _ frame: Pages, _ slot: Pages, _ times: Int) -> UInt64 {
  frame.read { from in
    slot.write { to in
      var raw: UInt64 = 0
      for _ in 0..<times {
        var limited = to._mutatingExtracting(0..<from.byteCount - from.byteCount / 32)
        guard codec.encode(from, into: &limited) == nil else { continue }
        to.copyBytes(of: from)
        raw &+= 1
      }
      return raw
    }
  }
}
