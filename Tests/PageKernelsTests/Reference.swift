// SPDX-License-Identifier: Apache-2.0
import TestSupport

/// What the kernels must compute, page by page and with nothing but array operations.
enum Reference {
  /// The numbers of the pages in `mask`, ascending.
  static func pages(_ mask: UInt64) -> [Int] { (0..<64).filter { (mask >> UInt64($0)) % 2 == 1 } }

  static func mask(_ pages: [Int]) -> UInt64 { pages.reduce(0) { $0 + (1 << UInt64($1)) } }

  static func page(_ number: Int, of span: [UInt8]) -> ArraySlice<UInt8> {
    span[number * pageByteCount..<(number + 1) * pageByteCount]
  }

  static let zeroPage = ArraySlice([UInt8](repeating: 0, count: pageByteCount))

  static func zeroPages(of span: [UInt8]) -> Set<Int> {
    Set((0..<span.count / pageByteCount).filter { page($0, of: span) == zeroPage })
  }
}

/// A span of pages of all kinds, which pages of it are zero, and masks to ask for.
struct SampleSpan {
  let content: [UInt8]
  let zeroPages: Set<Int>
  let wanted: [UInt64]

  init(pageCount: Int, seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    // Kinds change every few pages, so that there are runs and lone pages.
    var kinds: [PageKind] = []
    while kinds.count < pageCount {
      let kind = [PageKind.zero, .zero, .random, .text, .singleByte].randomElement(using: &generator) ?? .zero
      kinds += Array(repeating: kind, count: Int.random(in: 1...4, using: &generator))
    }
    content = SamplePages.image(Array(kinds.prefix(pageCount)), seed: seed &+ 1)
    zeroPages = Reference.zeroPages(of: content)
    let all: UInt64 = pageCount == 64 ? .max : (1 << UInt64(pageCount)) - 1
    wanted =
      [0, all, 1, 1 << UInt64(pageCount - 1)]
      + (0..<12).map { index in
        let (first, second) = (generator.next(), generator.next())
        return [first & second, first, first | second][index % 3] & all
      }
  }
}
