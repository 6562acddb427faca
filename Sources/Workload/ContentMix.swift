// SPDX-License-Identifier: Apache-2.0

/// What a guest's memory holds before anything is written, in percent of its 64 KiB runs.
public struct ContentMix: Sendable, Equatable, Codable, CustomStringConvertible {
  /// Nothing.
  public var zero: Int
  /// Words, which compress about three to one under zstd:1.
  public var text: Int
  /// Bytes that no codec makes smaller.
  public var random: Int

  /// A quarter is zero, and of the rest three fifths compress: about what a server's memory looks like.
  public static let standard = ContentMix(zero: 25, text: 45, random: 30)

  /// A mix as given; ``WorkloadPlan/check(guestByteCount:)`` checks it.
  public init(zero: Int, text: Int, random: Int) {
    self.zero = zero
    self.text = text
    self.random = random
  }

  /// Reads `zero:text:random`, like `25:45:30`.
  public init(parsing mix: String) throws(WorkloadError) {
    let parts = mix.split(separator: ":", omittingEmptySubsequences: false).compactMap { UInt8($0).map { Int($0) } }
    guard parts.count == 3, !mix.contains("+"), mix.filter({ $0 == ":" }).count == 2 else {
      throw .badMix(found: mix)
    }
    self.init(zero: parts[0], text: parts[1], random: parts[2])
    try check()
  }

  public var description: String { "\(zero):\(text):\(random)" }

  func check() throws(WorkloadError) {
    let parts = [zero, text, random]
    guard parts.allSatisfy({ (0...100).contains($0) }), parts.reduce(0, +) == 100 else {
      throw .badMix(found: description)
    }
  }
}
