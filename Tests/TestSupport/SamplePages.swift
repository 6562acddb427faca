// SPDX-License-Identifier: Apache-2.0
import PageModel

/// What a page of a test image holds.
public enum PageKind: Sendable, CaseIterable {
  case zero
  /// Does not compress.
  case random
  /// Compresses about four to one.
  case text
  /// Zero but for one byte somewhere.
  case singleByte
}

/// Pages and images with known content.
public enum SamplePages {
  /// One page of 4096 bytes.
  public static func page(_ kind: PageKind, using generator: inout SeededGenerator) -> [UInt8] {
    switch kind {
    case .zero: return [UInt8](repeating: 0, count: PageGeometry.pageByteCount)
    case .random:
      var page: [UInt8] = []
      page.reserveCapacity(PageGeometry.pageByteCount)
      while page.count < PageGeometry.pageByteCount {
        var word = generator.next()
        for _ in 0..<8 {
          page.append(UInt8(truncatingIfNeeded: word))
          word >>= 8
        }
      }
      return page
    case .text:
      var page: [UInt8] = []
      while page.count < PageGeometry.pageByteCount {
        page += Array("key-\(generator.next() % 1000)=value of the entry; ".utf8)
      }
      return Array(page.prefix(PageGeometry.pageByteCount))
    case .singleByte:
      var page = [UInt8](repeating: 0, count: PageGeometry.pageByteCount)
      page[Int.random(in: 0..<page.count, using: &generator)] = UInt8.random(in: 1...255, using: &generator)
      return page
    }
  }

  /// An image of `kinds`, page by page.
  public static func image(_ kinds: [PageKind], seed: UInt64) -> [UInt8] {
    var generator = SeededGenerator(seed: seed)
    return kinds.flatMap { page($0, using: &generator) }
  }

  /// `pageCount` pages of all kinds, in runs as real memory has them.
  public static func mixedImage(pageCount: Int, seed: UInt64) -> [UInt8] {
    var generator = SeededGenerator(seed: seed)
    var kinds: [PageKind] = []
    while kinds.count < pageCount {
      let kind = PageKind.allCases.randomElement(using: &generator) ?? .zero
      kinds += Array(repeating: kind, count: Int.random(in: 1...90, using: &generator))
    }
    return image(Array(kinds.prefix(pageCount)), seed: seed &+ 1)
  }
}
