// SPDX-License-Identifier: Apache-2.0
import PageCodecs
import Testing

@Suite("The registry of codecs")
struct CodecRegistryTests {
  @Test("Numbers and names are unique")
  func unique() {
    let identities = CodecRegistry.all.map { $0.identity }
    #expect(Set(identities.map { $0.tag }).count == identities.count)
    #expect(Set(identities.map { $0.name }).count == identities.count)
  }

  @Test(
    "Numbers on the wire stay what they are",
    arguments: [(0, "none"), (1, "lz4"), (2, "zstd"), (3, "deflate")] as [(UInt8, String)])
  func numbers(number: UInt8, name: String) throws {
    let codec = try #require(CodecRegistry.codec(tag: CodecTag(rawValue: number)))
    #expect(codec.identity.name == name)
    #expect(codec.identity.tag.rawValue == number)
  }

  @Test("A number that nothing has is no codec")
  func unknownNumber() {
    #expect(CodecRegistry.codec(tag: CodecTag(rawValue: 255)) == nil)
  }

  @Test("The usual level is one of those allowed, and a codec without a level has one", arguments: CodecCase.usual)
  func levels(_ codec: CodecCase) {
    let identity = codec.type.identity
    #expect(identity.levels.contains(identity.defaultLevel))
    if identity.levelName == nil { #expect(identity.levels.count == 1) }
    #expect(!identity.library.isEmpty && !identity.summary.isEmpty)
  }

  @Test("A name has nothing in it that the choice 'name:level' would trip over", arguments: CodecCase.usual)
  func names(_ codec: CodecCase) {
    #expect(!codec.name.isEmpty)
    #expect(codec.name.allSatisfy { $0.isASCII && ($0.isLowercase || $0.isNumber || $0 == "-") })
  }
}
