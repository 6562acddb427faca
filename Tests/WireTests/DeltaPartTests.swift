// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing
import Wire

@Suite("The delta part of a frame")
struct DeltaPartTests {
  private func decode(_ part: [UInt8], count: Int) throws(WireError) -> [Range<Int>] {
    var ranges = [0..<1]
    let failure = part.withRawSpan { part -> WireError? in
      do throws(WireError) {
        try DeltaPart.decode(part, count: count, into: &ranges)
        return nil
      } catch { return error }
    }
    if let failure { throw failure }
    return ranges
  }

  private func part(_ lengths: [UInt16], byteCount: Int? = nil) -> [UInt8] {
    let deltas = lengths.reduce(0) { $0 + Int($1) }
    var bytes = [UInt8](repeating: 0xee, count: byteCount ?? lengths.count * 2 + deltas)
    bytes.withMutableRawSpan { DeltaPart.encode(lengths: lengths, into: &$0) }
    return bytes
  }

  @Test("Deltas are found where they were put", arguments: 1...20 as ClosedRange<UInt64>)
  func roundTrip(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let lengths = (0..<Int.random(in: 0...192, using: &generator)).map { _ in
      [1, 4094, UInt16.random(in: 1...4094, using: &generator)].randomElement(using: &generator) ?? 1
    }
    let ranges = try decode(part(lengths), count: lengths.count)
    #expect(ranges.map { UInt16($0.count) } == lengths, "seed \(seed)")
    #expect(ranges.first?.lowerBound ?? 0 == lengths.count * 2)
    #expect(zip(ranges, ranges.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound }, "seed \(seed)")
  }

  @Test("Lengths are two little-endian bytes each")
  func layout() { #expect(part([1, 0x0203], byteCount: 4) == [1, 0, 3, 2]) }

  @Test("What is wrong is said")
  func refusals() {
    let truncated = WireError.truncated(what: "a frame's delta part")
    #expect(throws: truncated) { try decode([1], count: 1) }
    #expect(throws: truncated) { try decode(part([5, 5], byteCount: 13), count: 2) }
    #expect(throws: WireError.badValue(what: "a delta's length", found: 0)) { try decode(part([3, 0]), count: 2) }
    #expect(throws: WireError.tooLong(what: "a delta", found: 4095, allowed: 4094)) {
      try decode(part([4095]), count: 1)
    }
    #expect(throws: WireError.trailingBytes(what: "a frame's delta part", count: 2)) {
      try decode(part([3], byteCount: 7), count: 1)
    }
    #expect(throws: WireError.trailingBytes(what: "a frame's delta part", count: 3)) {
      try decode([1, 2, 3], count: 0)
    }
  }
}
