// SPDX-License-Identifier: Apache-2.0
import PageCodecs
import TestSupport
import Testing

@Suite("Corpus of the codecs' decoders")
struct CodecCorpusTests {
  @Test(
    "an input of the corpus is refused, or decoded within bounds",
    arguments: ["lz4", "zstd", "deflate"])
  func corpus(name: String) throws {
    let type = try #require(CodecRegistry.all.first { $0.identity.name == name })
    let driver = try CodecDriver(type)
    let files = Corpus.files(name)
    #expect(files.count >= 4)
    for path in files { #expect(driver.run(try TemporaryDirectory.read(path)) == nil, "\(path)") }
  }
}
