// SPDX-License-Identifier: Apache-2.0

/// Pseudo-random numbers that are functions of their place: whoever asks again for the same place gets the same.
enum Scramble {
  /// Odd constants far from each other, to keep the uses of one seed apart.
  static let step: UInt64 = 0x9e37_79b9_7f4a_7c15
  static let other: UInt64 = 0xd1b5_4a32_d192_ed03

  /// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a permutation that looks random.
  @inline(__always) static func hash(_ value: UInt64) -> UInt64 {
    var mixed = value
    mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
    return mixed ^ (mixed >> 31)
  }

  /// One multiplication: enough for content, which must only look random to a codec, and fast enough for whole pages.
  @inline(__always) static func quick(_ value: UInt64) -> UInt64 {
    let product = value.multipliedFullWidth(by: value ^ 0xa076_1d64_78bd_642f)
    return product.high ^ product.low
  }

  /// A number below `bound`, from all bits of `random`.
  @inline(__always) static func below(_ bound: Int, _ random: UInt64) -> Int {
    Int(truncatingIfNeeded: random.multipliedFullWidth(by: UInt64(truncatingIfNeeded: bound)).high)
  }
}
