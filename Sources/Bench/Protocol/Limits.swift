// SPDX-License-Identifier: Apache-2.0
import PageCodecs
import PageModel

/// What may stand in a line. Every value of a peer passes through here before it is used.
enum Limits {
  static let version = 1
  /// Bytes in a line, without its end.
  static let lineByteCount = 64 << 10
  static let streams = 1...64
  static let channels = 1...64
  static let lanes = 1...256
  static let codecs = 16
  /// Seconds that one stream test, or one migration, may take.
  static let linkSeconds = 0.05...10.0
  static let cellSeconds = 0.05...3600.0
  static let codecSeconds = 0.001...1.0
  static let memory = UInt64(PageGeometry.pageByteCount)...BlockTable.totalByteCountMax
  /// Any measured figure: seconds, bytes a second.
  static let figure = 0.0...1e18

  static func check<Value: Comparable>(
    _ field: String, _ value: Value, in range: ClosedRange<Value>
  ) throws(BenchError) {
    // A NaN is in no range.
    guard range.contains(value) else {
      throw .outOfRange(
        field: field, found: Printable.text("\(value)"), allowed: "\(range.lowerBound) to \(range.upperBound)")
    }
  }

  static func check(figures: KeyValuePairs<String, Double>) throws(BenchError) {
    for (field, value) in figures { try check(field, value, in: figure) }
  }

  static func check(count: Int, of field: String, atMost allowed: Int) throws(BenchError) {
    guard count <= allowed else {
      throw .outOfRange(field: field, found: "\(count) entries", allowed: "at most \(allowed)")
    }
  }

  /// A whole number of pages.
  static func check(memory byteCount: UInt64) throws(BenchError) {
    try check("memory", byteCount, in: memory)
    guard byteCount.isMultiple(of: UInt64(PageGeometry.pageByteCount)) else {
      throw .outOfRange(field: "memory", found: "\(byteCount)", allowed: "a multiple of \(PageGeometry.pageByteCount)")
    }
  }

  static func check(codec name: String) throws(BenchError) {
    do throws(CodecError) { _ = try CodecPolicy(parsing: name) } catch {
      throw .outOfRange(field: "codec", found: Printable.text(name), allowed: "a known codec")
    }
  }
}
