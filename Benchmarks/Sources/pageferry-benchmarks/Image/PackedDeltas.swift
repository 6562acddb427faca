// SPDX-License-Identifier: Apache-2.0
import PageCodecs
import PageModel

/// Deltas as the delta part of a frame has them: the lengths of up to 64 deltas, two bytes each, then the deltas; raw,
/// and put through a codec together.
struct PackedDeltas {
  private let packed: Region
  private let frames: [Range<Int>]
  private let deltaCount: Int

  private static let choices = ["none", "lz4:1", "zstd:1"]

  init(_ deltas: RecordedDeltas) throws {
    let all = deltas.places
    deltaCount = all.count
    let packed = try Region(byteCount: deltas.byteCount + 2 * all.count, .huge)
    var frames: [Range<Int>] = []
    for first in stride(from: 0, to: all.count, by: PageGeometry.pagesPerSpan) {
      let places = all[first..<min(first + PageGeometry.pagesPerSpan, all.count)]
      let start = frames.last?.upperBound ?? 0
      var end = start + 2 * places.count
      for (index, place) in places.enumerated() {
        packed.write(start + 2 * index..<start + 2 * index + 2) {
          $0.storeBytes(of: UInt16(place.count).littleEndian, as: UInt16.self)
        }
        deltas.bytes.read(place) { delta in packed.write(end..<end + place.count) { $0.copyBytes(of: delta) } }
        end += place.count
      }
      frames.append(start..<end)
    }
    self.packed = packed
    self.frames = frames
  }

  func run(_ roundCount: Int) throws {
    print("\nDeltas of 64 pages packed together (\(deltaCount) pages)")
    guard deltaCount > 0 else { return }
    let table = Table(columns: [
      .text("codec", 12), .figure("bytes/page", 11), .figure("ratio", 8), .figure("encode ns/page", 16),
      .figure("decode ns/page", 16),
    ])
    table.head()
    let runs = try Self.choices.map { try CodecRun(CodecChoice(parsing: $0), packed, frames) }
    let count = Double(deltaCount)
    for (run, times) in zip(runs, CodecRounds.measure(runs, roundCount)) {
      let ratio = Double(runs[0].encodedByteCount) / Double(run.encodedByteCount)
      table.row([
        run.label == "none" ? "raw" : run.label, (Double(run.encodedByteCount) / count).decimal(1), ratio.decimal(2),
        (times.encode / count).asNanoseconds, (times.decode / count).asNanoseconds,
      ])
    }
  }
}
