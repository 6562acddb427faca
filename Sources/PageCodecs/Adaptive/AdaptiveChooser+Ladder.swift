// SPDX-License-Identifier: Apache-2.0

extension AdaptiveChooser {
  /// One way to encode, and what it did to the data pages of a real guest.
  struct Rung: Sendable {
    let choice: CodecChoice
    /// Nanoseconds a byte on one core.
    let nanoseconds: Double
    /// Natural logarithm of the ratio.
    let reduction: Double
  }

  /// From no time per byte to the most. Levels in between are left out where they buy less than 2 %.
  static let ladder: [Rung] = [
    Rung(choice: .none, nanoseconds: 0.05, reduction: 0),
    Rung(choice: CodecChoice(tag: .lz4, level: 1), nanoseconds: 1.0, reduction: 0.72),
    Rung(choice: CodecChoice(tag: .zstd, level: 1), nanoseconds: 1.6, reduction: 0.97),
    Rung(choice: CodecChoice(tag: .zstdLong, level: 2), nanoseconds: 2.3, reduction: 1.19),
    Rung(choice: CodecChoice(tag: .zstdLong, level: 3), nanoseconds: 3.2, reduction: 1.22),
    Rung(choice: CodecChoice(tag: .zstdLong, level: 6), nanoseconds: 6.5, reduction: 1.26),
  ]
  /// No compression, and the first rung with a codec: what a lane begins with.
  static let (none, first) = (0, 1)

  /// The rung that a sample is to be encoded with.
  public static let sampleRung = first

  /// What an operator calls a rung.
  public static func name(ofRung rung: Int) -> String { ladder[rung].choice.description }
}
