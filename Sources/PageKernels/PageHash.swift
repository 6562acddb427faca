// SPDX-License-Identifier: Apache-2.0
import CPageKernels

/// XXH3 hashes of page data (Collet, xxHash 0.8). Against accidents, not against an adversary.
public enum PageHash {
  /// XXH3-64 of `bytes`.
  public static func checksum(_ bytes: RawSpan, tier: KernelTier = .best) -> UInt64 {
    // SAFETY: the hash reads `count` bytes and keeps nothing.
    unsafe bytes.withUnsafeBytes { unsafe pk_hash64(tier.raw, $0.baseAddress, $0.count, 0) }
  }

  /// XXH3-64 of a page's bytes under a session's seed, to tell whether the page is what it was.
  public static func page(_ page: RawSpan, seed: UInt64, tier: KernelTier = .best) -> UInt64 {
    // SAFETY: as above.
    unsafe page.withUnsafeBytes { unsafe pk_hash64(tier.raw, $0.baseAddress, $0.count, seed) }
  }

  /// XXH3-64 of a control message's bytes.
  public static func checksum(_ bytes: [UInt8]) -> UInt64 {
    // SAFETY: as above.
    unsafe bytes.withUnsafeBytes { unsafe pk_hash64(KernelTier.best.raw, $0.baseAddress, $0.count, 0) }
  }

  /// XXH3-128 of one page under its page number.
  static func numbered(_ page: RawSpan, number: UInt64, tier: KernelTier = .best) -> (low: UInt64, high: UInt64) {
    var low: UInt64 = 0
    var high: UInt64 = 0
    // SAFETY: as above.
    unsafe page.withUnsafeBytes { unsafe pk_hash128(tier.raw, $0.baseAddress, $0.count, number, &low, &high) }
    return (low, high)
  }
}

/// A digest of a RAM block's content that any number of threads can compute in any order.
///
/// The sum, modulo 2⁶⁴ in each half, of XXH3-128 over every page that is not all zero, seeded with the page's
/// number in its block. A zero page adds nothing, so holes and untouched memory need not be read.
public struct BlockDigest: Sendable, Equatable, CustomStringConvertible {
  /// Sum of the low halves.
  public private(set) var low: UInt64
  /// Sum of the high halves.
  public private(set) var high: UInt64

  /// The digest of a block that is all zero, or one read from the wire.
  public init(low: UInt64 = 0, high: UInt64 = 0) {
    self.low = low
    self.high = high
  }

  /// Adds page `number` of the block; the page must hold a set bit.
  public mutating func add(page: RawSpan, number: UInt64) {
    let hash = PageHash.numbered(page, number: number)
    low &+= hash.low
    high &+= hash.high
  }

  /// Adds another part of the same block.
  public mutating func add(_ other: BlockDigest) {
    low &+= other.low
    high &+= other.high
  }

  public var description: String {
    let digits = String(high, radix: 16).leftPadded(to: 16) + String(low, radix: 16).leftPadded(to: 16)
    return digits
  }
}

extension String {
  fileprivate func leftPadded(to width: Int) -> String { String(repeating: "0", count: max(0, width - count)) + self }
}
