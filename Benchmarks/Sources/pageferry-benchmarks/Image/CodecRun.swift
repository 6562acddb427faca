// SPDX-License-Identifier: Apache-2.0
import PageCodecs

/// What one codec makes of frames that lie one behind the other.
///
/// A frame that does not shrink by at least 1/32 is copied, as the engine does it.
final class CodecRun {
  let label: String
  /// Of all frames together, those included that are copied.
  let encodedByteCount: Int
  private let codec: any FrameCodec
  /// The codec, if its frames depend on those before them: every pass begins anew.
  private let history: (any HistoryCodec)?
  private let source: Region
  /// Bytes of `source`.
  private let frames: [Range<Int>]
  private let encoded: Region
  private let places: [(bytes: Range<Int>, isRaw: Bool)]
  /// Where encoded frames go while that is timed, and decoded ones: in the cache.
  private let slots: Region
  private let slotByteCount: Int

  private static let slotCount = 4
  /// What a codec that cannot take a frame back may need beyond the frame.
  private static let surplusByteCount = 4096
  private static let historyByteCount = 64 << 20

  init(_ choice: CodecChoice, _ source: Region, _ frames: [Range<Int>]) throws {
    label = "\(choice)"
    codec = try choice.make(historyByteCount: Self.historyByteCount)
    history = codec as? any HistoryCodec
    self.source = source
    self.frames = frames
    slotByteCount = (frames.map(\.count).max() ?? 0) + Self.surplusByteCount
    slots = try Region(byteCount: Self.slotCount * slotByteCount, .small)
    (encoded, places) = try Self.encodeAll(codec, source, frames)
    encodedByteCount = places.last?.bytes.upperBound ?? 0
    guard decodesToSource() else { fatalError("\(label) does not decode what it encoded") }
  }

  /// Encodes every frame; the times of `decode` need them all.
  private static func encodeAll(
    _ codec: any FrameCodec, _ source: Region, _ frames: [Range<Int>]
  ) throws -> (Region, [(bytes: Range<Int>, isRaw: Bool)]) {
    let keepsHistory = codec is any HistoryCodec
    (codec as? any HistoryCodec)?.restart()
    let encoded = try Region(byteCount: frames.reduce(surplusByteCount) { $0 + $1.count + 64 }, .huge)
    var places: [(bytes: Range<Int>, isRaw: Bool)] = []
    for frame in frames {
      let start = places.last?.bytes.upperBound ?? 0
      let (count, isRaw) = source.read(frame) { from in
        encoded.write(start..<start + frame.count + surplusByteCount) {
          Self.encode(codec, keepsHistory, from, into: &$0)
        }
      }
      places.append((start..<start + count, isRaw))
    }
    return (encoded, places)
  }

  private static func encode(
    _ codec: any FrameCodec, _ keepsHistory: Bool, _ source: RawSpan, into destination: inout MutableRawSpan
  ) -> (byteCount: Int, isRaw: Bool) {
    if keepsHistory {
      guard let count = codec.encode(source, into: &destination) else { fatalError("a frame did not fit") }
      return (count, false)
    }
    var target = destination._mutatingExtracting(0..<source.byteCount - source.byteCount / 32)
    if let count = codec.encode(source, into: &target) { return (count, false) }
    var raw = destination._mutatingExtracting(0..<source.byteCount)
    raw.copyBytes(of: source)
    return (source.byteCount, true)
  }

  /// - Returns: bytes that came out.
  @inline(never)
  func encode() -> UInt64 {
    history?.restart()
    let keepsHistory = history != nil
    var total = 0
    for (number, frame) in frames.enumerated() {
      source.read(frame) { from in
        slots.write(slot(number)) { total += Self.encode(codec, keepsHistory, from, into: &$0).byteCount }
      }
    }
    return UInt64(total)
  }

  @inline(never)
  func decode() -> UInt64 {
    history?.restart()
    for number in frames.indices { decode(number) { _ in } }
    return UInt64(frames.count)
  }

  private func decode(_ number: Int, _ body: (RawSpan) -> Void) {
    let slot = slot(number)
    slots.write(slot.lowerBound..<slot.lowerBound + frames[number].count) { target in
      encoded.read(places[number].bytes) { from in
        guard !places[number].isRaw else { return target.copyBytes(of: from) }
        do throws(CodecError) { try codec.decode(from, into: &target) } catch {
          fatalError("\(label): a frame did not decode: \(error)")
        }
      }
      body(target.bytes)
    }
  }

  private func slot(_ number: Int) -> Range<Int> {
    let start = number % Self.slotCount * slotByteCount
    return start..<start + slotByteCount
  }

  private func decodesToSource() -> Bool {
    history?.restart()
    return frames.indices.allSatisfy { number in
      var isSame = false
      decode(number) { decoded in source.read(frames[number]) { isSame = decoded.hasSameBytes(as: $0) } }
      return isSame
    }
  }
}

/// Times of several codecs over the same frames, in turns.
enum CodecRounds {
  /// Median nanoseconds of one encoding and one decoding of everything.
  static func measure(_ runs: [CodecRun], _ roundCount: Int) -> [(encode: Double, decode: Double)] {
    var rounds: [(encode: [Double], decode: [Double])] = Array(repeating: ([], []), count: runs.count)
    for _ in 0..<roundCount {
      for (index, run) in runs.enumerated() {
        rounds[index].encode.append(Timing.duration { _ = run.encode() })
        rounds[index].decode.append(Timing.duration { _ = run.decode() })
      }
    }
    return rounds.map { (Timing.median($0.encode), Timing.median($0.decode)) }
  }
}
