// SPDX-License-Identifier: Apache-2.0
import PageKernels
import PageModel

/// The deltas of changed pages, one behind the other; pages whose delta does not fit have none.
final class RecordedDeltas: Sendable {
  let bytes: Region
  /// Where each delta lies.
  let places: [Range<Int>]
  /// The page that each delta belongs to.
  let pages: [Int]
  let byteCount: Int

  init(_ changed: ChangedPages) throws {
    let room = DeltaPairs.capacity + Delta.scratchByteCount
    let bytes = try Region(byteCount: changed.count * DeltaPairs.capacity + Delta.scratchByteCount, .huge)
    var places: [Range<Int>] = []
    var pages: [Int] = []
    for number in 0..<changed.count {
      let start = places.last?.upperBound ?? 0
      let result = changed.base.read(number.bytesOfPage) { base in
        changed.page.read(number.bytesOfPage) { page in
          bytes.write(start..<start + room) {
            Delta.encode(from: base, to: page, into: &$0, capacity: DeltaPairs.capacity)
          }
        }
      }
      if case .delta(let byteCount) = result {
        places.append(start..<start + byteCount)
        pages.append(number)
      }
    }
    self.bytes = bytes
    self.places = places
    self.pages = pages
    byteCount = places.last?.upperBound ?? 0
  }
}
