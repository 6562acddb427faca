// SPDX-License-Identifier: Apache-2.0
import PageKernels
import PageModel

/// How a page differs from the copy that was sent last.
enum DeltaShape: String, CaseIterable {
  case unchanged
  case oneByte = "one-byte"
  /// 8-byte words, anywhere, replaced.
  case tenWords = "10-words"
  case manyWords = "64-words"
  /// Each byte with a chance of 10 %.
  case scattered = "10-percent-bytes"
  /// Longer than the page.
  case everySecondByte = "every-2nd-byte"
  /// Longer than the page: nothing is left of the old one.
  case random
  case block = "1-kib-block"
  /// Words that went up by one.
  case counters = "32-counters"

  /// What an encoder must find in every sample, so that a case measures what its name says.
  var isOverflow: Bool { self == .everySecondByte || self == .random }
  /// Whether there is something to apply.
  var hasDelta: Bool { self != .unchanged && !isOverflow }

  /// Makes these changes to a page.
  func change(_ page: inout MutableRawSpan, _ generator: inout SeededGenerator) {
    let byteCount = PageGeometry.pageByteCount
    switch self {
    case .unchanged: break
    case .oneByte: Self.changeByte(&page, Int(generator.next() % UInt64(byteCount)), &generator)
    case .tenWords: Self.changeWords(&page, count: 10, &generator) { _, random in random }
    case .manyWords: Self.changeWords(&page, count: 64, &generator) { _, random in random }
    case .scattered:
      for offset in 0..<byteCount where generator.next().isMultiple(of: 10) {
        Self.changeByte(&page, offset, &generator)
      }
    case .everySecondByte:
      for offset in stride(from: 1, to: byteCount, by: 2) { Self.changeByte(&page, offset, &generator) }
    case .random: Self.changeWords(&page, count: byteCount / 8, &generator) { _, random in random }
    case .block:
      let start = Int(generator.next() % UInt64(byteCount - 1024))
      for offset in start..<start + 1024 { Self.changeByte(&page, offset, &generator) }
    case .counters: Self.changeWords(&page, count: 32, &generator) { word, _ in word &+ 1 }
    }
  }

  private static func changeByte(_ page: inout MutableRawSpan, _ offset: Int, _ generator: inout SeededGenerator) {
    // SAFETY: any bits are a byte; the offset is checked by the load.
    let before = unsafe page.bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self)
    page.storeBytes(of: before ^ UInt8(1 + generator.next() % 255), toByteOffset: offset, as: UInt8.self)
  }

  /// Changes `count` different words: one somewhere in each of as many parts of the page.
  private static func changeWords(
    _ page: inout MutableRawSpan, count: Int, _ generator: inout SeededGenerator,
    _ change: (_ word: UInt64, _ random: UInt64) -> UInt64
  ) {
    let part = PageGeometry.pageByteCount / 8 / count
    for number in 0..<count {
      let offset = (number * part + Int(generator.next() % UInt64(part))) * 8
      // SAFETY: as above; words are aligned, as the page is.
      let before = unsafe page.bytes.unsafeLoad(fromByteOffset: offset, as: UInt64.self)
      page.storeBytes(of: change(before, generator.next()), toByteOffset: offset, as: UInt64.self)
    }
  }
}

/// Pages of a guest, and what became of them: together they fit into the second-level cache, and no branch predictor
/// learns 64 of them by heart.
final class DeltaPairs {
  static let count = PageGeometry.pagesPerSpan
  /// Longest delta, the page's own length: QEMU's rule.
  static let capacity = PageGeometry.pageByteCount

  let base: Pages
  let page: Pages

  init(_ shape: DeltaShape) throws {
    base = try SampleData.guest.span()
    page = try SampleData.guest.span()
    var generator = SeededGenerator(seed: 7)
    page.fill { pages in
      for number in 0..<Self.count {
        var page = pages._mutatingExtracting(number.bytesOfPage)
        shape.change(&page, &generator)
      }
    }
    let delta = try Pages(count: 2)
    for number in 0..<Self.count {
      let result = encode(number, into: delta)
      let isAsNamed =
        switch result {
        case .unchanged: shape == .unchanged
        case .overflow: shape.isOverflow
        case .delta: shape.hasDelta
        }
      guard isAsNamed else { fatalError("page \(number) of \(shape.rawValue) is \(result)") }
    }
  }

  /// What turns page `number` of `base` into that of `page`.
  func encode(_ number: Int, into delta: Pages) -> Delta.Result {
    base.read { base in
      page.read { page in
        delta.write {
          Delta.encode(
            from: base.extracting(number.bytesOfPage), to: page.extracting(number.bytesOfPage), into: &$0,
            capacity: Self.capacity)
        }
      }
    }
  }
}
