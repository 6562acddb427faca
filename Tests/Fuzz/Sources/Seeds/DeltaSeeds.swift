// SPDX-License-Identifier: Apache-2.0
import PageKernels

// Deltas, good and bad, and changes of a page as the driver reads them: where they begin, how much room there is, and
// what is different.

func deltaSeeds() -> [Seed] {
  let deltas: [(String, [UInt8])] = [
    ("one-byte", delta { $0 == 1000 }),
    ("last-byte", delta { $0 == 4095 }),
    ("words", delta { $0 % 512 < 8 }),
    ("counters", delta { $0 % 64 == 8 }),
    ("alternating", delta { $0 % 2 == 0 }),
    ("block", delta { (100..<400).contains($0) }),
    ("long-lengths", delta { $0 % 256 < 128 }),
    ("whole-page", delta { _ in true }),
    ("lengths-in-two-bytes", [0x80, 0, 0x81, 0, 9, 0x81, 0, 1, 9]),
    ("cut", Array(delta { $0 % 512 < 8 }.dropLast(3))),
    ("length-too-long", [5, 1, 9, 0x80, 0x80, 0, 1, 9]),
    ("empty-run", [5, 1, 9, 0, 1, 9]),
    ("past-page", [0xff, 0x1f, 2, 8, 9]),
    ("change-at-end", [0xf0, 0x0f, 0, 1, 1, 1, 0, 0, 1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1]),
    ("change-across-words", [0x3e, 0, 9, 0, 1, 1, 1, 1, 0, 1]),
  ]
  return deltas.map { Seed(decoder: "xbzrle", name: $0.0, bytes: $0.1) }
}

/// The delta between a page of zeros and one whose bytes are set where `isSet` says so.
private func delta(_ isSet: (Int) -> Bool) -> [UInt8] {
  let base = [UInt8](repeating: 0, count: 4096)
  let page = (0..<4096).map { isSet($0) ? UInt8(truncatingIfNeeded: $0) | 1 : 0 }
  let capacity = 6144
  var room = [UInt8](repeating: 0, count: capacity + Delta.scratchByteCount)
  var span = room.mutableSpan
  var raw = unsafe span.mutableBytes
  let result = unsafe Delta.encode(from: base.span.bytes, to: page.span.bytes, into: &raw, capacity: capacity)
  guard case .delta(let byteCount) = result else { return [] }
  return Array(room.prefix(byteCount))
}
