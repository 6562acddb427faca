// SPDX-License-Identifier: Apache-2.0
import PageKernels

// Deltas as the published format has them, a byte at a time.
extension Reference {
  static func uleb128(_ value: Int) -> [UInt8] {
    value < 128 ? [UInt8(value)] : [UInt8(128 + value % 128)] + uleb128(value / 128)
  }

  /// The maximal runs in which two pages differ.
  static func runs(_ base: [UInt8], _ page: [UInt8]) -> [Range<Int>] {
    var runs: [Range<Int>] = []
    for at in page.indices where base[at] != page[at] {
      if let last = runs.last, last.upperBound == at {
        runs[runs.count - 1] = last.lowerBound..<at + 1
      } else {
        runs.append(at..<at + 1)
      }
    }
    return runs
  }

  /// The delta that replaces `runs` by what `page` has there.
  static func delta(_ runs: [Range<Int>], of page: [UInt8]) -> [UInt8] {
    var delta: [UInt8] = []
    var end = 0
    for run in runs {
      delta += uleb128(run.lowerBound - end) + uleb128(run.count) + page[run]
      end = run.upperBound
    }
    return delta
  }

  static func delta(from base: [UInt8], to page: [UInt8]) -> [UInt8] { delta(runs(base, page), of: page) }

  /// Applies a delta that may be anything. What QEMU's decoder refuses is refused here: a zrun of 0 after the first
  /// pair, an nzrun of 0, lengths of more than two bytes, and whatever leads past the end of the page or of the delta.
  static func apply(_ delta: [UInt8], to page: inout [UInt8]) throws(Delta.Fault) {
    var left = delta[...]
    var at = 0
    while !left.isEmpty {
      let isFirst = left.count == delta.count
      let kept = try takeLength(from: &left)
      guard kept > 0 || isFirst else { throw .emptyRun }
      let replaced = try takeLength(from: &left)
      guard replaced > 0 else { throw .emptyRun }
      at += kept
      guard at + replaced <= page.count else { throw .pastPage }
      guard left.count >= replaced else { throw .truncated }
      page.replaceSubrange(at..<at + replaced, with: left.prefix(replaced))
      left = left.dropFirst(replaced)
      at += replaced
    }
  }

  private static func takeLength(from bytes: inout ArraySlice<UInt8>) throws(Delta.Fault) -> Int {
    guard let first = bytes.popFirst() else { throw .truncated }
    guard first >= 128 else { return Int(first) }
    guard let second = bytes.popFirst() else { throw .truncated }
    guard second < 128 else { throw .badLength }
    return Int(first) - 128 + Int(second) * 128
  }
}
