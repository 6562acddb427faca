// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

@Suite("Corpus of the parsers of QEMU's stream") struct StreamCorpusTests {
  @Test("A stream of the corpus is refused or read correctly", arguments: Corpus.files("qemu-stream"))
  func stream(path: String) throws { #expect(StreamDrivers.stream(try TemporaryDirectory.read(path)) == nil) }

  @Test("A channel of the corpus is refused or read correctly", arguments: Corpus.files("qemu-multifd"))
  func multifd(path: String) throws { #expect(StreamDrivers.multifd(try TemporaryDirectory.read(path)) == nil) }

  @Test("The corpus is there", arguments: [("qemu-stream", 8), ("qemu-multifd", 4)])
  func isPresent(decoder: String, count: Int) { #expect(Corpus.files(decoder).count >= count) }
}
