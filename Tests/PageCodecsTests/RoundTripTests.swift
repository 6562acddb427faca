// SPDX-License-Identifier: Apache-2.0
import PageCodecs
import TestSupport
import Testing

@Suite("Round trips of codecs")
struct RoundTripTests {
  @Test(
    "What a codec encodes it decodes to the same bytes", arguments: CodecCase.compressing, FrameContent.allCases)
  func roundTrip(_ codec: CodecCase, content: FrameContent) throws {
    let encoder = try codec.make()
    let decoder = try codec.make()
    for pageCount in [1, 2, 17, 64, 96] {
      let source = content.pages(pageCount, seed: 201)
      var room = GuardedRoom(amplyRoom(for: source.count))
      let encoded = try #require(encoder.encode(source, room: &room), "\(pageCount) pages, seed 201")
      #expect(room.isIntact, "encode wrote outside its room: \(pageCount) pages, seed 201")
      var decoded = GuardedRoom(source.count)
      try decoder.decode(encoded, room: &decoded)
      #expect(decoded.isIntact, "decode wrote outside its room: \(pageCount) pages, seed 201")
      let same = Array(decoded.content) == source
      #expect(same, "other content: \(pageCount) pages, seed 201")
    }
  }

  @Test(
    "Text becomes half as large or less at the usual level", arguments: CodecCase.usual.filter { $0.name != "none" })
  func compresses(_ codec: CodecCase) throws {
    let source = FrameContent.text.pages(64, seed: 202)
    let encoded = try #require(codec.make().encode(source))
    #expect(encoded.count * 2 < source.count)
  }

  @Test("The lowest levels of zstd shorten frequent bytes, chunk by chunk; those above them only find matches")
  func shortens() throws {
    // Four bits a byte, and nothing comes twice; then as many random bytes, which must not spoil it.
    var generator = SeededGenerator(seed: 205)
    let skewed = (0..<64 << 10).map { _ in UInt8(truncatingIfNeeded: generator.next() & 15) }
    let source = skewed + FrameContent.random.pages(16, seed: 206)
    let shortened = try #require(ZstdCodec(level: -100).encode(source))
    #expect(shortened.count < 105 << 10)
    let same = try ZstdCodec(level: 1).decode(shortened, byteCount: source.count) == source
    #expect(same)
    let matched = try #require(ZstdCodec(level: -49).encode(source))
    #expect(matched.count > 120 << 10)
  }

  @Test("The codec 'none' encodes nothing and decodes to what it is given", arguments: FrameContent.allCases)
  func none(content: FrameContent) throws {
    let codec = NoneCodec(level: 0)
    let source = content.pages(5, seed: 203)
    #expect(codec.encode(source) == nil)
    let same = try codec.decode(source, byteCount: source.count) == source
    #expect(same)
  }

  @Test("One instance serves many frames, and each can be decoded alone", arguments: CodecCase.compressing)
  func reuse(_ codec: CodecCase) throws {
    let seed: UInt64 = 204
    var generator = SeededGenerator(seed: seed)
    let reused = try codec.make()
    for frame in 0..<40 {
      let content = FrameContent.allCases.randomElement(using: &generator) ?? .text
      let source = content.pages(Int.random(in: 1...4, using: &generator), seed: generator.next())
      // Frames that fail on the way must leave nothing behind.
      var small = GuardedRoom(8)
      #expect(reused.encode(source, room: &small) == nil, "frame \(frame), seed \(seed)")
      #expect(throws: CodecError.corrupt(codec: codec.name, expected: 4096), "frame \(frame), seed \(seed)") {
        try reused.decode([0xff, 0xff, 0xff], byteCount: 4096)
      }
      let encoded = try #require(reused.encode(source), "frame \(frame), seed \(seed)")
      let byReused = try reused.decode(encoded, byteCount: source.count) == source
      #expect(byReused, "frame \(frame), \(content), seed \(seed)")
      let byFresh = try codec.make().decode(encoded, byteCount: source.count) == source
      #expect(byFresh, "decoded alone: frame \(frame), \(content), seed \(seed)")
    }
  }
}
