// SPDX-License-Identifier: Apache-2.0
import PageCodecs
import TestSupport
import Testing

@Suite("Codecs given hostile input")
struct HostileInputTests {
  /// Decodes what may be anything: either it is refused as corrupt, or there is content. Nothing else may happen.
  private func decode(
    _ input: [UInt8], _ decoder: any FrameCodec, _ codec: CodecCase, byteCount: Int, _ place: Comment
  ) -> [UInt8]? {
    var room = GuardedRoom(byteCount)
    defer { #expect(room.isIntact, "written outside the destination: \(place)") }
    do throws(CodecError) {
      try decoder.decode(input, room: &room)
      return Array(room.content)
    } catch {
      #expect(error == .corrupt(codec: codec.name, expected: byteCount), place)
      return nil
    }
  }

  private func sample(_ codec: CodecCase, pages: Int, seed: UInt64) throws -> (source: [UInt8], encoded: [UInt8]) {
    let source = FrameContent.text.pages(pages, seed: seed)
    // 'none' never encodes: the pages themselves are what travels.
    return (source, try codec.make().encode(source) ?? source)
  }

  @Test("Data that was cut off does not decode to other content", arguments: CodecCase.all)
  func truncated(_ codec: CodecCase) throws {
    let (source, encoded) = try sample(codec, pages: 1, seed: 221)
    let decoder = try codec.make()
    for count in 0..<encoded.count {
      let place: Comment = "first \(count) of \(encoded.count) bytes, seed 221"
      if let content = decode(Array(encoded.prefix(count)), decoder, codec, byteCount: source.count, place) {
        let same = content == source
        #expect(same, place)
      }
    }
  }

  @Test("Data with flipped bits is refused or decodes, within the destination", arguments: CodecCase.all)
  func flipped(_ codec: CodecCase) throws {
    let (source, encoded) = try sample(codec, pages: 2, seed: 222)
    let decoder = try codec.make()
    var generator = SeededGenerator(seed: 222)
    for round in 0..<600 {
      var bad = encoded
      for _ in 0...round % 4 {
        // Half of the flips hit the first bytes, where headers are.
        let last = Bool.random(using: &generator) ? min(16, bad.count) - 1 : bad.count - 1
        bad[Int.random(in: 0...last, using: &generator)] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
      }
      _ = decode(bad, decoder, codec, byteCount: source.count, "round \(round), seed 222")
    }
    let same = try decoder.decode(encoded, byteCount: source.count) == source
    #expect(same, "good data after bad, seed 222")
  }

  @Test(
    "Random bytes are refused or decode, within the destination",
    arguments: CodecCase.usual + CodecCase.deflateEngines)
  func random(_ codec: CodecCase) throws {
    let decoder = try codec.make()
    var generator = SeededGenerator(seed: 223)
    let (_, encoded) = try sample(codec, pages: 1, seed: 223)
    for round in 0..<600 {
      // Every other one begins as real data does.
      let head = round % 2 == 0 ? [] : Array(encoded.prefix(Int.random(in: 1...24, using: &generator)))
      let tail = (0..<Int.random(in: 0...300, using: &generator)).map { _ in
        UInt8.random(in: 0...255, using: &generator)
      }
      let byteCount = 4096 * Int.random(in: 1...3, using: &generator)
      _ = decode(head + tail, decoder, codec, byteCount: byteCount, "round \(round), seed 223")
    }
  }

  @Test("Data that something follows is refused", arguments: CodecCase.all)
  func followed(_ codec: CodecCase) throws {
    let (source, encoded) = try sample(codec, pages: 2, seed: 225)
    let decoder = try codec.make()
    for rest in [[0], [0xff], encoded, [UInt8](repeating: 0, count: 4096)] {
      #expect(throws: CodecError.corrupt(codec: codec.name, expected: source.count), "\(rest.count) bytes, seed 225") {
        _ = try decoder.decode(encoded + rest, byteCount: source.count)
      }
    }
  }

  @Test(
    "Data of another size than claimed is refused", arguments: CodecCase.all, [-8192, -4096, -1, 1, 4096, 1 << 20])
  func wrongSize(_ codec: CodecCase, difference: Int) throws {
    let (source, encoded) = try sample(codec, pages: 3, seed: 224)
    let byteCount = source.count + difference
    var room = GuardedRoom(byteCount)
    let decoder = try codec.make()
    #expect(throws: CodecError.corrupt(codec: codec.name, expected: byteCount)) {
      try decoder.decode(encoded, room: &room)
    }
    #expect(room.isIntact, "written outside the destination")
  }

  @Test(
    "Data that would decode to far more than is claimed stays within the destination", arguments: CodecCase.compressing)
  func bomb(_ codec: CodecCase) throws {
    let zeros = [UInt8](repeating: 0, count: 4 << 20)
    let encoded = try #require(codec.make().encode(zeros))
    var room = GuardedRoom(4096)
    let decoder = try codec.make()
    #expect(throws: CodecError.corrupt(codec: codec.name, expected: 4096)) { try decoder.decode(encoded, room: &room) }
    #expect(room.isIntact, "written outside the destination")
  }
}
