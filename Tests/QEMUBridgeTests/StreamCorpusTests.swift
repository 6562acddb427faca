// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

@Suite("Corpus of the parsers of QEMU's stream, and of a proxy") struct StreamCorpusTests {
  @Test("A stream of the corpus is refused or read correctly", arguments: Corpus.files("qemu-stream"))
  func stream(path: String) throws { #expect(StreamDrivers.stream(try TemporaryDirectory.read(path)) == nil) }

  @Test("A channel of the corpus is refused or read correctly", arguments: Corpus.files("qemu-multifd"))
  func multifd(path: String) throws { #expect(StreamDrivers.multifd(try TemporaryDirectory.read(path)) == nil) }

  @Test("Pages of a departing channel of the corpus are where it says", arguments: Corpus.files("departing-channel"))
  func channel(path: String) throws { #expect(ChannelDriver.run(try TemporaryDirectory.read(path)) == nil) }

  @Test("What a proxy's other half says does what it may, and no more", arguments: Corpus.files("relay-messages"))
  func messages(path: String) throws { #expect(RelayDriver.run(try TemporaryDirectory.read(path)) == nil) }

  @Test(
    "The corpus is there",
    arguments: [("qemu-stream", 8), ("qemu-multifd", 4), ("departing-channel", 8), ("relay-messages", 8)])
  func isPresent(decoder: String, count: Int) { #expect(Corpus.files(decoder).count >= count) }
}
