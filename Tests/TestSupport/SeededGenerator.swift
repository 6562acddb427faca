// SPDX-License-Identifier: Apache-2.0

/// SplitMix64: the same numbers for the same seed, everywhere (Steele, Lea, Flood 2014).
public struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  public init(seed: UInt64) { state = seed }

  public mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
    return mixed ^ (mixed >> 31)
  }

  /// That many bytes, a word at a time: tests are not optimised, and one number for each byte takes them seconds.
  public mutating func bytes(_ count: Int) -> [UInt8] {
    unsafe Array(unsafeUninitializedCapacity: (count + 7) & ~7) { room, initialized in
      for at in stride(from: 0, to: count, by: 8) {
        unsafe UnsafeMutableRawBufferPointer(room).storeBytes(of: next(), toByteOffset: at, as: UInt64.self)
      }
      initialized = count
    }
  }
}
