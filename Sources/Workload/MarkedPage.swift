// SPDX-License-Identifier: Apache-2.0
import PageModel

/// A page with the guest's mark in it: how often it was written, and proof of it.
///
/// The mark is three places of 8 bytes, one in each third of the page, always the same for a page: its generation (how
/// often it was written), a stamp that follows from page and generation, and a number that does so too. Scattered, so
/// that a page that was torn anywhere does not fit together. A page that was never written has no mark.
@safe struct MarkedPage {
  private let base: UnsafeMutableRawPointer
  private let key: UInt64
  private let places: (generation: Int, stamp: Int, third: Int)

  /// The page at `base`, which has number `number` in its guest.
  @unsafe @inline(__always) init(at base: UnsafeMutableRawPointer, number: Int, seed: UInt64) {
    unsafe self.base = base
    let random = Scramble.hash((UInt64(truncatingIfNeeded: number) &+ 1) &* Scramble.step)
    key = random ^ seed
    let third = PageGeometry.pageByteCount / 8 / 3
    // The thirds have 170, 170 and 172 places; 16 bits of the hash pick one in each.
    places = (
      8 * Int((random & 0xffff) * UInt64(third) >> 16),
      8 * (third + Int((random >> 16 & 0xffff) * UInt64(third) >> 16)),
      8 * (2 * third + Int((random >> 32 & 0xffff) * UInt64(third) >> 16))
    )
  }

  /// The generation of the page by its own account: 0 if it has no mark that is valid.
  @inline(__always) var generation: UInt64 {
    // SAFETY: the places are aligned and lie in the page.
    let generation = unsafe base.load(fromByteOffset: places.generation, as: UInt64.self)
    guard generation != 0, unsafe base.load(fromByteOffset: places.stamp, as: UInt64.self) == stamp(generation) else {
      return 0
    }
    return generation
  }

  /// Puts the mark of a generation, which is not 0.
  @inline(__always) func mark(_ generation: UInt64) {
    // SAFETY: as above.
    unsafe base.storeBytes(of: generation, toByteOffset: places.generation, as: UInt64.self)
    unsafe base.storeBytes(of: stamp(generation), toByteOffset: places.stamp, as: UInt64.self)
    unsafe base.storeBytes(of: hash(generation, 2), toByteOffset: places.third, as: UInt64.self)
  }

  /// What the page adds to the sum over its thread's pages: a page that was not written, nothing.
  @inline(__always) func share(_ generation: UInt64) -> UInt64 { generation == 0 ? 0 : hash(generation, 3) }

  private func stamp(_ generation: UInt64) -> UInt64 { hash(generation, 1) }

  @inline(__always) private func hash(_ generation: UInt64, _ use: UInt64) -> UInt64 {
    Scramble.hash(((generation &* Scramble.other) ^ key) &+ use &* Scramble.step)
  }
}
