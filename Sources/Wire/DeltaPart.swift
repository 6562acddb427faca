// SPDX-License-Identifier: Apache-2.0

/// The delta part of a frame, decoded: a length (u16) for each delta page in the order of the records, then the deltas.
///
/// The lengths come first and together because neighbours are alike, which a codec makes use of: packed so, and
/// compressed as one, deltas of a real guest take half of what they take alone.
public enum DeltaPart {
  /// Bytes in front of the deltas for each of them.
  public static let lengthByteCount = 2
  /// The longest delta that is worth a page: with its length it is still shorter.
  public static let deltaByteCountMax = 4096 - lengthByteCount

  /// Writes the lengths of a frame's deltas to the first bytes of `out`; the deltas follow without gaps.
  public static func encode(lengths: [UInt16], into out: inout MutableRawSpan) {
    for (index, length) in lengths.enumerated() { out.store(length, at: index * lengthByteCount) }
  }

  /// The places of `count` deltas in a decoded part, checked: each has at least a byte and fewer than a page, and
  /// together they fill the part exactly. What a delta says is not looked at.
  /// - Parameter ranges: cleared and filled, so that nothing is allocated once warm.
  public static func decode(_ part: RawSpan, count: Int, into ranges: inout [Range<Int>]) throws(WireError) {
    ranges.removeAll(keepingCapacity: true)
    var offset = count * lengthByteCount
    guard part.byteCount >= offset else { throw .truncated(what: "a frame's delta part") }
    for index in 0..<count {
      let length = Int(part.load(index * lengthByteCount, as: UInt16.self))
      guard length > 0 else { throw .badValue(what: "a delta's length", found: 0) }
      guard length <= deltaByteCountMax else {
        throw .tooLong(what: "a delta", found: length, allowed: deltaByteCountMax)
      }
      guard part.byteCount - offset >= length else { throw .truncated(what: "a frame's delta part") }
      ranges.append(offset..<offset + length)
      offset += length
    }
    guard offset == part.byteCount else {
      throw .trailingBytes(what: "a frame's delta part", count: part.byteCount - offset)
    }
  }
}
