// SPDX-License-Identifier: Apache-2.0
import PageCodecs
import TestSupport
import Testing

@Suite("Corpus of the codecs' decoders")
struct CodecCorpusTests {
  @Test(
    "an input of the corpus is refused, or decoded within bounds",
    arguments: (CodecCase.usual + CodecCase.deflateEngines).filter { $0.name != "none" })
  func corpus(_ codec: CodecCase) throws {
    let driver = CodecDriver(try codec.make())
    let files = Corpus.files(codec.name)
    #expect(files.count >= 4)
    for path in files { #expect(driver.run(try TemporaryDirectory.read(path)) == nil, "\(path)") }
  }
}
