// SPDX-License-Identifier: Apache-2.0

extension AdaptiveChooser {
  /// One way to encode, and what it did to the data pages of a real guest.
  struct Rung: Sendable {
    let choice: CodecChoice
    /// Nanoseconds a byte on one core.
    let nanoseconds: Double
    /// Natural logarithm of the ratio, by what it comes from: bytes that came before come again, and some bytes are more
    /// frequent than others. Content can have much of one and little of the other.
    let matching: Double
    let skew: Double

    init(_ tag: CodecTag, _ level: Int, nanoseconds: Double, matching: Double, skew: Double) {
      choice = CodecChoice(tag: tag, level: level)
      self.nanoseconds = nanoseconds
      self.matching = matching
      self.skew = skew
    }

    /// Whether frames before are needed to decode it, so that it gains nothing from every other frame.
    var hasHistory: Bool { choice.tag == .zstdLong }

    /// Whether what it makes of content tells what every other rung would.
    var tellsAll: Bool { matching > 0 && skew > 0 }
  }

  /// From no time per byte to the most. Levels in between are left out where they buy less than 2 %.
  static let ladder: [Rung] = [
    Rung(.none, 0, nanoseconds: 0.05, matching: 0, skew: 0),
    Rung(.zstd, -100, nanoseconds: 0.95, matching: 0, skew: 0.5),
    Rung(.lz4, 1, nanoseconds: 1.0, matching: 0.72, skew: 0),
    Rung(.zstd, 1, nanoseconds: 1.6, matching: 0.72, skew: 0.25),
    Rung(.zstdLong, 2, nanoseconds: 2.3, matching: 0.94, skew: 0.25),
    Rung(.zstdLong, 3, nanoseconds: 3.2, matching: 0.97, skew: 0.25),
    Rung(.zstdLong, 6, nanoseconds: 6.5, matching: 1.01, skew: 0.25),
  ]
  /// No compression: what a lane begins with, because a link that needs more shows it within a few frames, and what has
  /// been encoded for a link that needs less, or has been queued with too weak a codec for one that needs more, is lost.
  static let none = 0

  /// The rungs that samples of a frame are encoded with, one for each thing that content can have: but not the frame's own.
  public func sampleRungs(ofFrame rung: Int) -> some Sequence<Int> { (1...2 as ClosedRange).lazy.filter { $0 != rung } }

  /// What an operator calls a rung.
  public static func name(ofRung rung: Int) -> String { ladder[rung].choice.description }
}
