// SPDX-License-Identifier: Apache-2.0

/// Words that text-like pages are made of.
///
/// Each of the table's slots holds a word and what follows it in 16 bytes, the last of which is the length of both.
/// Frequent words have more slots (Zipf), so a slot is drawn with 12 random bits and copied with one store; letters
/// are about as unevenly distributed as in English. Under zstd:1 the result shrinks to about a third. There is no text
/// that could repeat: what a codec with a long memory finds are words, not passages.
@safe final class Vocabulary: @unchecked Sendable {
  typealias Slot = SIMD2<UInt64>
  static let slotCount = 4096
  private static let wordCount = 1500
  private static let wordByteCounts = 2...12
  /// From the most frequent to the rarest.
  private static let letters = Array("etaoinshrdlucmfwypvbgkqjxz".utf8)

  private let slots: UnsafeMutablePointer<Slot>

  /// One for all guests, made at first use and kept: pages differ by what is drawn from it, not by the words.
  static let standard = Vocabulary()

  private init() {
    unsafe slots = .allocate(capacity: Self.slotCount)
    var random = Scramble.other
    let weights = (0..<Self.wordCount).map { 1 / (Double($0) + 2.7) }
    let total = weights.reduce(0, +)
    var sum = 0.0
    var next = 0
    for rank in 0..<Self.wordCount {
      let word = Self.word(rank: rank, &random)
      sum += weights[rank]
      let end = rank == Self.wordCount - 1 ? Self.slotCount : Int(sum / total * Double(Self.slotCount))
      while next < end {
        // SAFETY: next < slotCount, because sum never exceeds total.
        unsafe (slots + next).initialize(to: word)
        next += 1
      }
    }
  }

  /// The table: ``slotCount`` slots, which live as long as the process.
  var table: UnsafePointer<Slot> { unsafe UnsafePointer(slots) }

  /// A word, what follows it, and in the last byte the length of both.
  private static func word(rank: Int, _ random: inout UInt64) -> Slot {
    func draw(_ bound: Int) -> Int {
      random &+= Scramble.step
      return Scramble.below(bound, Scramble.hash(random))
    }
    // The most frequent words are short.
    let longest = rank < wordCount / 20 ? wordByteCounts.lowerBound + 2 : wordByteCounts.upperBound
    var bytes: [UInt8] = []
    for _ in 0..<wordByteCounts.lowerBound + draw(longest - wordByteCounts.lowerBound + 1) {
      // The square of a random number: the first letters come up most.
      let position = Double(draw(1 << 20)) / Double(1 << 20)
      bytes.append(letters[Int(position * position * Double(letters.count))])
    }
    bytes += ([", ", ". ", "\n", "="] + Array(repeating: " ", count: 12))[draw(16)].utf8
    let count = bytes.count
    bytes += Array(repeating: 0x20, count: 15 - count) + [UInt8(count)]
    let halves = bytes.enumerated().reduce(into: Slot()) { halves, byte in
      halves[byte.offset / 8] |= UInt64(byte.element) << UInt64(byte.offset % 8 * 8)
    }
    return halves
  }
}
