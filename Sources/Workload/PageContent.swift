// SPDX-License-Identifier: Apache-2.0
import PageModel

/// What every page of a guest holds, but for its mark: a function of the plan, the page's number, and how often the
/// page was written.
@safe struct PageContent: @unchecked Sendable {
  /// What a page looks like.
  enum Kind { case zero, text, random }

  /// Pages that look alike lie together: 64 KiB.
  private static let pagesPerRun = 16

  let seed: UInt64
  let writesWholePages: Bool
  private let workingPages: Range<Int>
  private let workingPagesAreZero: Bool
  private let workingPagesAsElsewhere: Bool
  private let mix: ContentMix
  private let compressibility: Int
  private let words: UnsafePointer<Vocabulary.Slot>

  /// - Parameter plan: was checked for a guest of this size.
  init(_ plan: WorkloadPlan, guestByteCount: UInt64) {
    seed = plan.seed
    mix = plan.mix
    compressibility = plan.compressibility
    workingPages = plan.workingPages(guestByteCount: guestByteCount)
    writesWholePages = plan.pattern.writesWholePages
    workingPagesAsElsewhere = plan.pattern == .idle
    if case .growing = plan.pattern { workingPagesAreZero = true } else { workingPagesAreZero = plan.mix.zero == 100 }
    unsafe words = Vocabulary.standard.table
  }

  /// What a page looks like before it is written.
  func initialKind(_ page: Int) -> Kind {
    let isWorking = !workingPagesAsElsewhere && workingPages.contains(page)
    if isWorking && workingPagesAreZero { return .zero }
    let random = Scramble.hash(seed ^ UInt64(page / Self.pagesPerRun) &* Scramble.step &+ Scramble.other)
    let draw =
      isWorking ? mix.zero + Scramble.below(max(1, 100 - mix.zero), random) : Scramble.below(100, random)
    return draw < mix.zero ? .zero : draw < mix.zero + mix.text ? .text : .random
  }

  /// What a page looks like in a generation.
  @inline(__always) func kind(_ page: Int, generation: UInt64) -> Kind {
    guard generation > 0, writesWholePages else { return initialKind(page) }
    return Scramble.below(100, key(page, generation)) < compressibility ? .text : .random
  }

  /// Writes a page's content in a generation to `base`: 4096 bytes.
  func write(_ page: Int, generation: UInt64, to base: UnsafeMutableRawPointer) {
    let key = key(page, writesWholePages ? generation : 0)
    switch kind(page, generation: generation) {
    case .zero: _ = unsafe base.initializeMemory(as: UInt8.self, repeating: 0, count: PageGeometry.pageByteCount)
    case .text: unsafe writeText(key, base)
    case .random: unsafe writeRandom(key, base)
    }
  }

  @inline(__always) private func key(_ page: Int, _ generation: UInt64) -> UInt64 {
    Scramble.hash(seed &+ Scramble.hash(UInt64(truncatingIfNeeded: page) &* Scramble.step &+ generation))
  }

  private func writeRandom(_ key: UInt64, _ base: UnsafeMutableRawPointer) {
    var place = key
    for offset in stride(from: 0, to: PageGeometry.pageByteCount, by: 8) {
      place &+= Scramble.step
      // SAFETY: the offset lies in the page.
      unsafe base.storeBytes(of: Scramble.quick(place), toByteOffset: offset, as: UInt64.self)
    }
  }

  private func writeText(_ key: UInt64, _ base: UnsafeMutableRawPointer) {
    var place = key
    var offset = 0
    // Four words a draw, at most 15 bytes each, and each stores 16: it fits if this much is left.
    while offset <= PageGeometry.pageByteCount - 64 {
      place &+= Scramble.step
      var draw = Scramble.quick(place)
      for _ in 0..<4 {
        let word = unsafe words[Int(truncatingIfNeeded: draw & UInt64(Vocabulary.slotCount - 1))]
        // SAFETY: offset + 16 <= 4096, by the loop's condition.
        unsafe base.storeBytes(of: word, toByteOffset: offset, as: Vocabulary.Slot.self)
        offset += Int(truncatingIfNeeded: word.y >> 56)
        draw >>= 16
      }
    }
    while offset <= PageGeometry.pageByteCount - 16 {
      let word = unsafe words[Int(truncatingIfNeeded: place & UInt64(Vocabulary.slotCount - 1))]
      unsafe base.storeBytes(of: word, toByteOffset: offset, as: Vocabulary.Slot.self)
      offset += Int(truncatingIfNeeded: word.y >> 56)
      place >>= 12
    }
    while offset < PageGeometry.pageByteCount {
      unsafe base.storeBytes(of: 0x2e, toByteOffset: offset, as: UInt8.self)
      offset += 1
    }
  }
}
