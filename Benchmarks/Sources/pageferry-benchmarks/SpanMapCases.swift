// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import PageModel

extension Case {
  /// The map of pending pages of 1 GiB: what a lane does to it, and the walk over what is left.
  static var spanMap: [Case] {
    [
      Case(
        name: "span-map/insert-take-4096", byteCount: 0,
        variants: [
          .gated("take") {
            let map = SpanMap(block: block)
            return { insertAndTake(map, $0) }
          }
        ]),
      Case(
        name: "span-map/for-each-run-4096", byteCount: 0,
        variants: [
          .gated("walk") {
            let map = SpanMap(block: block)
            // What a working guest leaves dirty: mostly nothing, runs, single pages, now and then everything.
            for span in 0..<spanCount {
              switch span % 16 {
              case 0, 1: map.insert(.max, span: span)
              case 5: map.insert(0x0000_0fff_0000_00f0, span: span)
              case 9: map.insert(0x8000_0001_0001_0010, span: span)
              default: break
              }
            }
            return { walk(map, $0) }
          }
        ]),
    ]
  }

  private static var block: RAMBlock {
    RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: UInt64(spanCount * PageGeometry.spanByteCount))
  }
}

private let spanCount = 4096

/// The insertion is part of it: taking a span twice would find it empty.
@inline(never)
private func insertAndTake(_ map: SpanMap, _ times: Int) -> UInt64 {
  var seen: UInt64 = 0
  for _ in 0..<times {
    for span in 0..<spanCount { map.insert(1, span: span) }
    for span in 0..<spanCount { seen &+= map.take(span: span) }
  }
  return seen
}

@inline(never)
private func walk(_ map: SpanMap, _ times: Int) -> UInt64 {
  var seen: UInt64 = 0
  for _ in 0..<times { map.forEachRun { seen &+= UInt64($0.count) } }
  return seen
}
