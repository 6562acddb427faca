// SPDX-License-Identifier: Apache-2.0
import PageCodecs
import Testing

@Suite("The operator's choice of a codec")
struct CodecChoiceTests {
  @Test(
    "Every codec can be named, with and without a level",
    arguments: [
      ("none", .none, 0, "none"), ("lz4", .lz4, 1, "lz4:1"), ("lz4:1", .lz4, 1, "lz4:1"), ("lz4:8", .lz4, 8, "lz4:8"),
      ("lz4:65537", .lz4, 65537, "lz4:65537"), ("zstd", .zstd, 1, "zstd:1"), ("zstd:-1", .zstd, -1, "zstd:-1"),
      ("zstd:-100", .zstd, -100, "zstd:-100"), ("zstd:0", .zstd, 0, "zstd:0"), ("zstd:19", .zstd, 19, "zstd:19"),
      ("deflate", .deflate, 1, "deflate:1"), ("deflate:0", .deflate, 0, "deflate:0"),
      ("deflate:9", .deflate, 9, "deflate:9"),
    ] as [(String, CodecTag, Int, String)])
  func good(text: String, tag: CodecTag, level: Int, description: String) throws {
    let choice = try CodecChoice(parsing: text)
    #expect(choice.tag == tag)
    #expect(choice.level == level)
    #expect(choice.description == description)
    #expect(try CodecChoice(parsing: choice.description) == choice)
    #expect(type(of: try choice.make()).identity.tag == tag)
  }

  private static let names = ["none", "lz4", "zstd", "zstd-long", "deflate"]

  @Test(
    "A bad choice is refused with its error",
    arguments: [
      ("", .unknown(name: "", known: names)), (":", .unknown(name: "", known: names)),
      (":3", .unknown(name: "", known: names)), ("gzip", .unknown(name: "gzip", known: names)),
      ("LZ4", .unknown(name: "LZ4", known: names)), (" lz4", .unknown(name: " lz4", known: names)),
      ("lz4 ", .unknown(name: "lz4 ", known: names)), ("zstd1", .unknown(name: "zstd1", known: names)),
      ("none:0", .takesNoLevel(codec: "none")), ("none:", .takesNoLevel(codec: "none")),
      ("lz4:", .badLevel(codec: "lz4", found: "", allowed: 1...65537)),
      ("lz4:0", .badLevel(codec: "lz4", found: "0", allowed: 1...65537)),
      ("lz4:65538", .badLevel(codec: "lz4", found: "65538", allowed: 1...65537)),
      ("lz4:fast", .badLevel(codec: "lz4", found: "fast", allowed: 1...65537)),
      ("lz4:1:2", .badLevel(codec: "lz4", found: "1:2", allowed: 1...65537)),
      ("zstd:20", .badLevel(codec: "zstd", found: "20", allowed: -100...19)),
      ("zstd:-101", .badLevel(codec: "zstd", found: "-101", allowed: -100...19)),
      ("zstd:1.5", .badLevel(codec: "zstd", found: "1.5", allowed: -100...19)),
      ("zstd: 1", .badLevel(codec: "zstd", found: " 1", allowed: -100...19)),
      ("deflate:10", .badLevel(codec: "deflate", found: "10", allowed: 0...9)),
      ("deflate:-1", .badLevel(codec: "deflate", found: "-1", allowed: 0...9)),
      ("deflate:99999999999999999999", .badLevel(codec: "deflate", found: "99999999999999999999", allowed: 0...9)),
    ] as [(String, CodecError)])
  func bad(text: String, error: CodecError) {
    #expect(throws: error) { try CodecChoice(parsing: text) }
  }

  @Test("The messages say what there is to choose from")
  func messages() {
    #expect(
      CodecError.unknown(name: "gzip", known: Self.names).description
        == "unknown codec 'gzip'; known: none, lz4, zstd, zstd-long, deflate")
    #expect(
      CodecError.badLevel(codec: "zstd", found: "20", allowed: -100...19).description
        == "codec zstd: '20' is not a whole number from -100 to 19")
    #expect(CodecError.takesNoLevel(codec: "none").description.contains("none"))
    #expect(CodecError.corrupt(codec: "lz4", expected: 8192).description.contains("8192"))
    #expect(CodecError.unavailable(codec: "lz4", reason: "no memory").description.contains("no memory"))
  }
}
