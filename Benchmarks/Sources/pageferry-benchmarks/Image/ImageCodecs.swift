// SPDX-License-Identifier: Apache-2.0
import PageCodecs
import PageModel

/// Codecs over data pages, a page at a time and as many as a frame has.
struct ImageCodecs {
  let pages: Region
  let pageCount: Int
  let choices: [CodecChoice]

  private static let pagesPerFrame = [1, PageGeometry.pagesPerSpan, 96]

  func run(_ roundCount: Int) throws {
    print("\nCodecs over \(pageCount / 256) MiB of T0's data pages")
    let table = Table(columns: [
      .text("pages a frame", 15), .text("codec", 12), .figure("encode MB/s", 12), .figure("decode MB/s", 13),
      .figure("ratio", 8),
    ])
    table.head()
    let byteCount = Double(pageCount * PageGeometry.pageByteCount)
    for count in Self.pagesPerFrame {
      let frames = stride(from: 0, to: pageCount, by: count).map { ($0..<min($0 + count, pageCount)).bytesOfPages }
      let runs = try choices.map { try CodecRun($0, pages, frames) }
      for (run, times) in zip(runs, CodecRounds.measure(runs, roundCount)) {
        table.row([
          "\(count)", run.label, (byteCount / times.encode * 1e3).decimal(0),
          (byteCount / times.decode * 1e3).decimal(0), (byteCount / Double(run.encodedByteCount)).decimal(2),
        ])
      }
    }
  }
}
