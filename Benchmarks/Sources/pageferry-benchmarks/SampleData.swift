// SPDX-License-Identifier: Apache-2.0
import PageModel

/// SplitMix64: the same bytes on every machine, so that instruction counts are comparable.
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
    return mixed ^ (mixed >> 31)
  }
}

/// What the pages of a span hold.
enum SampleData: CaseIterable {
  /// Log lines and configuration.
  case text
  /// A span of a working guest: heap records, text, arrays of small numbers, and data that was compressed already,
  /// in shares that bring codecs near their ratios on the RAM of a real guest (lz4 1.9, zstd:1 2.6 here).
  case guest
  /// Does not compress; for what must not depend on content.
  case random

  var label: String {
    switch self {
    case .text: "text"
    case .guest: "guest"
    case .random: "random"
    }
  }

  func span(pageCount: Int = PageGeometry.pagesPerSpan) throws -> Pages {
    let pages = try Pages(count: pageCount)
    var generator = SeededGenerator(seed: 42)
    pages.fill { span in
      for page in 0..<pageCount {
        let start = page * PageGeometry.pageByteCount
        switch self {
        case .text: Self.putText(&span, start, &generator)
        case .random: Self.putRandom(&span, start, &generator)
        case .guest:
          switch page % 8 {
          case 0, 3, 6: Self.putHeap(&span, start, &generator)
          case 1, 4, 5: Self.putText(&span, start, &generator)
          case 2: Self.putNumbers(&span, start, &generator)
          default: Self.putRandom(&span, start, &generator)
          }
        }
      }
    }
    return pages
  }

  private static func putRandom(_ span: inout MutableRawSpan, _ start: Int, _ generator: inout SeededGenerator) {
    for offset in stride(from: 0, to: PageGeometry.pageByteCount, by: 8) {
      span.storeBytes(of: generator.next(), toByteOffset: start + offset, as: UInt64.self)
    }
  }

  /// Records of 48 bytes as an allocator lays them out: size, two pointers into a 16 MiB heap, flags, a key, padding.
  private static func putHeap(_ span: inout MutableRawSpan, _ start: Int, _ generator: inout SeededGenerator) {
    for offset in stride(from: 0, to: PageGeometry.pageByteCount, by: 8) {
      let random = generator.next()
      let word: UInt64 =
        switch offset / 8 % 6 {
        case 0: 0x31
        case 1, 2: 0x0000_7f3a_5c00_0000 + (random & 0xff_fff0)
        case 3: random & 3
        case 4: random & 0xffff_ffff
        default: 0
        }
      span.storeBytes(of: word, toByteOffset: start + offset, as: UInt64.self)
    }
  }

  /// An array of 32-bit numbers below 256.
  private static func putNumbers(_ span: inout MutableRawSpan, _ start: Int, _ generator: inout SeededGenerator) {
    for offset in stride(from: 0, to: PageGeometry.pageByteCount, by: 8) {
      span.storeBytes(of: generator.next() & 0x0000_00ff_0000_00ff, toByteOffset: start + offset, as: UInt64.self)
    }
  }

  private static func putText(_ span: inout MutableRawSpan, _ start: Int, _ generator: inout SeededGenerator) {
    var line: [UInt8] = []
    for offset in 0..<PageGeometry.pageByteCount {
      if line.isEmpty {
        let word = words[Int(generator.next() % UInt64(words.count))]
        line = Array("\(generator.next() % 100_000) order \(word) from host-\(generator.next() % 40)\n".utf8.reversed())
      }
      span.storeBytes(of: line.removeLast(), toByteOffset: start + offset, as: UInt8.self)
    }
  }

  private static let words = ["accepted", "paid", "packed", "shipped", "returned", "cancelled", "refunded", "lost"]
}
