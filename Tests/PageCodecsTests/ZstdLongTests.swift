// SPDX-License-Identifier: Apache-2.0
import PageCodecs
import TestSupport
import Testing

/// One side of a lane: frames in order, with one history.
private struct Stream {
  let codec: ZstdLongCodec

  init(level: Int = 1, historyByteCount: Int = 1 << 20) throws {
    codec = try ZstdLongCodec(level: level, historyByteCount: historyByteCount)
  }

  func encode(_ source: [UInt8], room byteCount: Int? = nil) -> [UInt8]? {
    var room = GuardedRoom(byteCount ?? amplyRoom(for: source.count))
    let written = withSpan(source) { source in room.withSpan { codec.encode(source, into: &$0) } }
    return written.map { Array(room.content.prefix($0)) }
  }

  /// Nil if the frame was refused.
  func decode(_ encoded: [UInt8], byteCount: Int) -> [UInt8]? {
    var room = GuardedRoom(byteCount)
    let isDecoded = withSpan(encoded) { encoded in
      room.withSpan { to in
        do throws(CodecError) { try codec.decode(encoded, into: &to) } catch { return false }
        return true
      }
    }
    #expect(room.isIntact)
    return isDecoded ? Array(room.content) : nil
  }
}

@Suite("zstd with a history")
struct ZstdLongTests {
  private static func frames(_ count: Int, seed: UInt64) -> [[UInt8]] {
    (0..<count).map { index in
      FrameContent.allCases[index % FrameContent.allCases.count].pages(1 + index * 7 % 96, seed: seed + UInt64(index))
    }
  }

  @Test("Frames in order decode to what they were, at any level", arguments: [-100, -1, 1, 3, 6])
  func inOrder(level: Int) throws {
    let (sender, receiver) = (try Stream(level: level), try Stream())
    for (index, frame) in Self.frames(24, seed: 301).enumerated() {
      let encoded = try #require(sender.encode(frame))
      #expect(receiver.decode(encoded, byteCount: frame.count) == frame, "frame \(index), seed 301")
    }
  }

  @Test("What does not compress by itself costs next to nothing when it comes again, as far back as the window goes")
  func repetition() throws {
    let stream = try Stream(historyByteCount: 4 << 20)
    let first = FrameContent.random.pages(64, seed: 311)
    #expect(try #require(stream.encode(first)).count > first.count * 99 / 100)
    for seed in 312..<320 as Range<UInt64> { _ = stream.encode(FrameContent.random.pages(32, seed: seed)) }
    #expect(try #require(stream.encode(first)).count < first.count / 50)
    // Shifted by a few bytes: a copy in another place is not aligned to pages.
    let shifted = Array([1, 2, 3, 4, 5] + first.dropLast(5))
    #expect(try #require(stream.encode(shifted)).count < first.count / 50)
    for seed in 321..<381 as Range<UInt64> { _ = stream.encode(FrameContent.random.pages(32, seed: seed)) }
    #expect(try #require(stream.encode(first)).count > first.count * 99 / 100, "past the window")
  }

  @Test("A frame without the frames before it is refused, or decodes to something else; after a restart it is alone")
  func withoutHistory() throws {
    let sender = try Stream()
    let frames = Self.frames(6, seed: 331)
    _ = sender.encode(frames[3])
    let second = try #require(sender.encode(frames[3]))
    #expect(try Stream().decode(second, byteCount: frames[3].count) != frames[3])
    sender.codec.restart(level: 3)
    let receiver = try Stream()
    for frame in [frames[3], frames[4]] {
      #expect(receiver.decode(try #require(sender.encode(frame)), byteCount: frame.count) == frame)
    }
    sender.codec.restart()
    receiver.codec.restart()
    let again = try #require(sender.encode(frames[3]))
    #expect(receiver.decode(again, byteCount: frames[3].count) == frames[3])
  }

  @Test("A receiver goes on after a refused frame, once the history begins anew")
  func afterRefusal() throws {
    let (sender, receiver) = (try Stream(), try Stream())
    let frame = FrameContent.text.pages(8, seed: 341)
    var bad = try #require(sender.encode(frame))
    bad[bad.count / 2] ^= 0x55
    let refused = receiver.decode(bad, byteCount: frame.count)
    #expect(refused != frame)
    sender.codec.restart()
    receiver.codec.restart()
    #expect(receiver.decode(try #require(sender.encode(frame)), byteCount: frame.count) == frame)
  }

  @Test("Too little room leaves the history as it was")
  func littleRoom() throws {
    let (sender, receiver) = (try Stream(), try Stream())
    let frames = Self.frames(4, seed: 351)
    for frame in frames {
      #expect(sender.encode(frame, room: frame.count) == nil)
      #expect(receiver.decode(try #require(sender.encode(frame)), byteCount: frame.count) == frame)
    }
  }

  @Test("A window larger than what was agreed on is refused")
  func windowTooLarge() throws {
    let sender = try Stream(historyByteCount: 64 << 20)
    let frame = FrameContent.text.pages(96, seed: 361)
    let encoded = try #require(sender.encode(frame))
    #expect(try Stream(historyByteCount: 1 << 20).decode(encoded, byteCount: frame.count) == nil)
    #expect(try Stream(historyByteCount: 64 << 20).decode(encoded, byteCount: frame.count) == frame)
  }

  @Test(
    "The window is the largest power of two within the history",
    arguments: [
      (0, 19), (1 << 19, 19), (1 << 20, 20), ((1 << 25) - 1, 24), (1 << 27, 27), (1 << 29, 29), (1 << 40, 29),
    ])
  func windowLog(byteCount: Int, log: Int) {
    #expect(ZstdLongCodec.windowLog(historyByteCount: byteCount) == log)
  }
}
