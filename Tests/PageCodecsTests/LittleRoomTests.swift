// SPDX-License-Identifier: Apache-2.0
import PageCodecs
import TestSupport
import Testing

@Suite("Codecs with little room")
struct LittleRoomTests {
  @Test("Random pages do not fit into fewer bytes, and the room is not left", arguments: CodecCase.all)
  func randomDoesNotFit(_ codec: CodecCase) throws {
    let source = FrameContent.random.pages(3, seed: 211)
    let encoder = try codec.make()
    for byteCount in [0, 1, 2, 7, 15, 64, 4096, source.count - 4096, source.count - 1] {
      var room = GuardedRoom(byteCount)
      let encoded = encoder.encode(source, room: &room)
      #expect(encoded == nil, "\(byteCount) bytes, seed 211")
      #expect(room.isIntact, "written outside \(byteCount) bytes, seed 211")
    }
  }

  @Test("A result is given only if it fits", arguments: CodecCase.compressing, [FrameContent.text, .mixed, .zero])
  func onlyIfItFits(_ codec: CodecCase, content: FrameContent) throws {
    let seed: UInt64 = 212
    let source = content.pages(2, seed: seed)
    let encoder = try codec.make()
    let size = try #require(encoder.encode(source)).count
    var generator = SeededGenerator(seed: seed)
    let sizes =
      [0, 1, size / 2, size - 1, size, size + 1]
      + (0..<20).map { _ in Int.random(in: 0...size + 64, using: &generator) }
    for byteCount in sizes {
      var room = GuardedRoom(byteCount)
      let encoded = encoder.encode(source, room: &room)
      #expect(room.isIntact, "written outside \(byteCount) bytes, seed \(seed)")
      guard let encoded else {
        // Some libraries want a little more room than they end up using, never this much.
        #expect(byteCount < size + 64, "nothing in \(byteCount) bytes, though \(size) are enough, seed \(seed)")
        continue
      }
      #expect(encoded.count <= byteCount, "\(byteCount) bytes, seed \(seed)")
      let same = try encoder.decode(encoded, byteCount: source.count) == source
      #expect(same, "other content from \(byteCount) bytes, seed \(seed)")
    }
  }
}
