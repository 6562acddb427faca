// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

@Suite("Corpus of the delta kernels")
struct DeltaCorpusTests {
  @Test("An input of the corpus is the same to all tiers", arguments: Corpus.files("xbzrle"))
  func corpus(path: String) throws { #expect(DeltaDrivers.xbzrle(try TemporaryDirectory.read(path)) == nil) }

  @Test("The corpus is there")
  func isPresent() { #expect(Corpus.files("xbzrle").count >= 10) }

  @Test("Every prefix of the corpus is the same to all tiers")
  func prefixes() throws {
    for path in Corpus.files("xbzrle") {
      let whole = try TemporaryDirectory.read(path)
      for length in 0..<min(whole.count, 40) {
        #expect(DeltaDrivers.xbzrle(Array(whole.prefix(length))) == nil, "\(path), the first \(length) bytes")
      }
    }
  }
}
