// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

@testable import PageCodecs

extension Trait where Self == ConditionTrait {
  /// Two engines are needed to compare them.
  fileprivate static var bothEngines: Self {
    .enabled(if: DeflateEngine.isal.isPresent, "ISA-L is not here, nothing of it is tested: install libisal-dev")
  }
}

@Suite("Engines of deflate")
struct DeflateEngineTests {
  private static let present = DeflateEngine.allCases.filter { $0.isPresent }

  @Test("What ISA-L encodes zlib decodes", .bothEngines, arguments: DeflateEngine.isal.levels, FrameContent.allCases)
  func isalToZlib(level: Int, content: FrameContent) throws {
    try cross(from: .isal, to: .zlib, level: level, content: content)
  }

  @Test("What zlib encodes ISA-L decodes", .bothEngines, arguments: DeflateEngine.zlib.levels, FrameContent.allCases)
  func zlibToISAL(level: Int, content: FrameContent) throws {
    try cross(from: .zlib, to: .isal, level: level, content: content)
  }

  private func cross(from: DeflateEngine, to: DeflateEngine, level: Int, content: FrameContent) throws {
    let encoder = try DeflateCodec(level: level, engine: from)
    let decoder = try DeflateCodec(level: to.levels.lowerBound, engine: to)
    for pageCount in [1, 2, 17, 64, 96] {
      let source = content.pages(pageCount, seed: 231)
      let encoded = try #require(encoder.encode(source), "\(pageCount) pages, seed 231")
      let same = try decoder.decode(encoded, byteCount: source.count) == source
      #expect(same, "\(pageCount) pages, seed 231")
    }
  }

  @Test("What zlib accepts ISA-L decodes to the same bytes", .bothEngines, arguments: CodecCase.deflateEngines)
  func accepted(_ codec: CodecCase) throws {
    let isal = try DeflateCodec(level: 1, engine: .isal)
    let zlib = try DeflateCodec(level: 1, engine: .zlib)
    let source = FrameContent.mixed.pages(3, seed: 232)
    let encoded = try #require(codec.make().encode(source))
    var generator = SeededGenerator(seed: 232)
    for round in 0..<600 {
      var bad = encoded
      for _ in 0...round % 3 {
        bad[Int.random(in: bad.indices, using: &generator)] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
      }
      // ISA-L also takes Huffman codes with gaps, which zlib refuses.
      guard let byZlib = try? zlib.decode(bad, byteCount: source.count) else { continue }
      let same = try isal.decode(bad, byteCount: source.count) == byZlib
      #expect(same, "round \(round), seed 232")
    }
  }

  @Test("A level is encoded by its engine", arguments: DeflateCodec.identity.levels)
  func level(_ level: Int) throws {
    let engine = DeflateEngine.encoding(level: level)
    #expect(engine == (level <= 3 && DeflateEngine.isal.isPresent ? .isal : .zlib))
    let source = FrameContent.text.pages(16, seed: 233)
    let expected = try DeflateCodec(level: engine == .zlib ? max(1, level) : level, engine: engine).encode(source)
    let same = try DeflateCodec(level: level).encode(source) == expected
    #expect(same && expected != nil, "seed 233")
  }

  @Test("Levels that an engine does not have are refused")
  func badLevels() {
    #expect(throws: CodecError.badLevel(codec: "deflate", found: "10", allowed: 0...9)) { try DeflateCodec(level: 10) }
    #expect(throws: CodecError.badLevel(codec: "deflate", found: "-1", allowed: 0...9)) { try DeflateCodec(level: -1) }
    for engine in DeflateEngine.allCases {
      for level in [engine.levels.lowerBound - 1, engine.levels.upperBound + 1] {
        #expect(throws: CodecError.self, "\(engine) \(level)") { try DeflateCodec(level: level, engine: engine) }
      }
    }
  }

  @Test("Nothing becomes a stream, no bytes are none", arguments: present)
  func nothing(engine: DeflateEngine) throws {
    let codec = try DeflateCodec(level: 1, engine: engine)
    let encoded = try #require(codec.encode([]))
    #expect(!encoded.isEmpty)
    #expect(try codec.decode(encoded, byteCount: 0).isEmpty)
    #expect(throws: CodecError.corrupt(codec: "deflate", expected: 0)) { try codec.decode([], byteCount: 0) }
    #expect(throws: CodecError.corrupt(codec: "deflate", expected: 1)) { try codec.decode([], byteCount: 1) }
    #expect(throws: CodecError.corrupt(codec: "deflate", expected: 1)) { try codec.decode(encoded, byteCount: 1) }
  }

  @Test("The library's name says which engines are used, and advice comes only without ISA-L")
  func names() throws {
    let zlib = try #require(DeflateEngine.zlib.version)
    let library = DeflateCodec.identity.library
    #expect(library == DeflateEngine.library(isal: DeflateEngine.isal.version, zlib: zlib))
    #expect(DeflateEngine.library(isal: nil, zlib: "1.2.13") == "zlib 1.2.13")
    #expect(
      DeflateEngine.library(isal: "2.30", zlib: "1.2.13")
        == "ISA-L 2.30 (levels 0-3, decoding), zlib 1.2.13 (levels 4-9)")
    #expect((DeflateEngine.isal.version != nil) == DeflateEngine.isal.isPresent)
    #expect((DeflateCodec.identity.advice == nil) == DeflateEngine.isal.isPresent)
  }
}
