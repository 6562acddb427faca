// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

@Suite("Corpus of the wire's decoders")
struct CorpusTests {
  @Test("a frame of the corpus is refused or decoded correctly", arguments: Corpus.files("frame"))
  func frame(path: String) throws {
    #expect(WireDrivers.frame(try TemporaryDirectory.read(path)) == nil)
  }

  @Test("a control message of the corpus is refused or decoded correctly", arguments: Corpus.files("control"))
  func control(path: String) throws {
    #expect(WireDrivers.control(try TemporaryDirectory.read(path)) == nil)
  }

  @Test("the corpus is there", arguments: ["frame", "control"])
  func isPresent(decoder: String) { #expect(Corpus.files(decoder).count >= 5) }

  @Test("every prefix of the corpus is refused or decoded correctly", arguments: ["frame", "control"])
  func prefixes(decoder: String) throws {
    for path in Corpus.files(decoder) {
      let whole = try TemporaryDirectory.read(path)
      for length in 0..<min(whole.count, 256) {
        let prefix = Array(whole.prefix(length))
        let problem = decoder == "frame" ? WireDrivers.frame(prefix) : WireDrivers.control(prefix)
        #expect(problem == nil, "\(path), the first \(length) bytes")
      }
    }
  }
}
