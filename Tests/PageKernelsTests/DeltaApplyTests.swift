// SPDX-License-Identifier: Apache-2.0
import PageKernels
import TestSupport
import Testing

@Suite("Deltas that may be anything")
struct DeltaApplyTests {
  /// Applies a delta with one tier, and compares with the reference: the fault, the page, and what lies around it.
  private func problem(_ delta: [UInt8], tier: KernelTier) -> String? {
    var expected = patternPage
    var expectedFault: Delta.Fault?
    do throws(Delta.Fault) { try Reference.apply(delta, to: &expected) } catch { expectedFault = error }
    var page = patternPage
    let (fault, isInside) = DeltaCall.apply(delta, to: &page, tier: tier)
    let checked = DeltaCall.check(delta)
    guard fault == expectedFault else { return "apply: \(String(describing: fault))" }
    guard checked == expectedFault else { return "check: \(String(describing: checked))" }
    guard isInside else { return "written outside the page" }
    return isSame(page, expected) ? nil : "another page"
  }

  /// A delta made by hand, and what is wrong with it.
  struct Hostile: Sendable, CustomTestStringConvertible {
    let name: String
    let fault: Delta.Fault?
    let delta: [UInt8]

    init(_ name: String, _ fault: Delta.Fault?, _ delta: [UInt8]) {
      (self.name, self.fault, self.delta) = (name, fault, delta)
    }

    var testDescription: String { name }
  }

  private static let ones = [UInt8](repeating: 1, count: 4096)

  /// What QEMU's decoder takes and refuses.
  static let hostile = [
    Hostile("nothing", nil, []),
    Hostile("a zrun of 0 at the start", nil, [0, 1, 9]),
    Hostile("lengths in two bytes that fit one", nil, [0x80, 0, 0x81, 0, 9, 0x81, 0, 1, 9]),
    Hostile("the whole page", nil, [0, 0x80, 0x20] + ones),
    Hostile("the last byte", nil, [0xff, 0x1f, 1, 9]),

    Hostile("a zrun alone", .truncated, [5]),
    Hostile("half a zrun", .truncated, [0x85]),
    Hostile("half an nzrun", .truncated, [5, 0x85]),
    Hostile("a second zrun alone", .truncated, [5, 1, 9, 5]),
    Hostile("half a second zrun", .truncated, [5, 1, 9, 0x85]),
    Hostile("no data", .truncated, [5, 3]),
    Hostile("data cut short by a byte", .truncated, [5, 3, 1, 2]),
    Hostile("data of a second pair cut short", .truncated, [5, 3, 1, 2, 3, 1, 20] + ones.prefix(19)),
    Hostile("a page cut short", .truncated, [0, 0x80, 0x20] + ones.dropLast()),

    Hostile("a zrun in three bytes", .badLength, [0x80, 0x80, 0, 1, 9]),
    Hostile("an nzrun in three bytes", .badLength, [5, 0x81, 0x80, 0, 9]),
    Hostile("a second zrun in three bytes", .badLength, [5, 1, 9, 0xff, 0xff, 0x7f, 1, 9]),
    Hostile("a length that never ends", .badLength, Array(repeating: 0xff, count: 40)),

    Hostile("an empty nzrun", .emptyRun, [5, 0, 9]),
    Hostile("an empty nzrun in two bytes", .emptyRun, [5, 0x80, 0, 9]),
    Hostile("both empty", .emptyRun, [0, 0]),
    Hostile("an empty nzrun at the end of the page", .emptyRun, [0x80, 0x20, 0]),
    Hostile("a second zrun of 0", .emptyRun, [0, 1, 9, 0, 1, 9]),
    Hostile("a second zrun of 0 in two bytes", .emptyRun, [0, 1, 9, 0x80, 0, 1, 9]),
    Hostile("an empty pair after a good one", .emptyRun, [5, 1, 9, 0, 0]),

    Hostile("a zrun of the page's length", .pastPage, [0x80, 0x20, 1, 9]),
    Hostile("a zrun past the page", .pastPage, [0x81, 0x20, 1, 9]),
    Hostile("the longest zrun", .pastPage, [0xff, 0x7f, 1, 9]),
    Hostile("an nzrun past the page", .pastPage, [0, 0x81, 0x20, 1] + ones),
    Hostile("an nzrun past the page by a byte", .pastPage, [0xff, 0x1f, 2, 8, 9]),
    Hostile("the longest lengths", .pastPage, [0xff, 0x7f, 0xff, 0x7f] + ones),
    Hostile("a second pair past the page", .pastPage, [0xfe, 0x1f, 1, 8, 1, 2, 8, 9]),
    Hostile("a pair after the page", .pastPage, [0, 0x80, 0x20] + ones + [1, 1, 9]),
    Hostile("short pairs past the page", .pastPage, (0..<33).flatMap { _ in [124, 1, 9] as [UInt8] }),
  ]

  @Test("A delta made by hand has its fault, and the runs before it are applied", arguments: hostile)
  func byHand(_ hostile: Hostile) {
    for tier in KernelTier.available {
      var page = patternPage
      #expect(DeltaCall.apply(hostile.delta, to: &page, tier: tier).fault == hostile.fault, "\(tier)")
      #expect(problem(hostile.delta, tier: tier) == nil, "\(tier)")
    }
    #expect(DeltaCall.check(hostile.delta) == hostile.fault)
  }

  @Test("An empty delta changes nothing", arguments: KernelTier.available)
  func empty(tier: KernelTier) {
    var page = patternPage
    #expect(DeltaCall.apply([], to: &page, tier: tier) == (nil, true))
    #expect(page == patternPage, "\(tier)")
  }

  @Test("Pairs of any size that end with the page, or a little later", arguments: KernelTier.available)
  func atTheEnd(tier: KernelTier) {
    for count in [1...20, 30...34, 62...66, 126...130].joined() {
      for kept in [1, 2, 127, 128] {
        for end in pageByteCount - 1...pageByteCount + 2 {
          // A first pair of one byte leads to where the second begins.
          let first = Reference.uleb128(end - count - kept - 1) + [1, 9]
          let second = Reference.uleb128(kept) + Reference.uleb128(count) + Self.ones.prefix(count)
          #expect(problem(first + second, tier: tier) == nil, "\(tier), \(kept) and \(count) bytes, to \(end)")
        }
      }
    }
  }

  @Test("Every cut of a delta is what the reference says", arguments: KernelTier.available)
  func cuts(tier: KernelTier) {
    var generator = SeededGenerator(seed: 341)
    for shape in [.fewBytes, .counters, .runs] as [DeltaShape] {
      let (base, page) = shape.pair(using: &generator)
      let delta = Reference.delta(from: base, to: page)
      for count in 0..<min(delta.count, 600) {
        #expect(problem(Array(delta.prefix(count)), tier: tier) == nil, "\(tier), \(count) bytes of \(shape), seed 341")
      }
    }
  }

  @Test("Random bytes are refused or applied as by the reference", arguments: KernelTier.available)
  func random(tier: KernelTier) {
    var generator = SeededGenerator(seed: 351)
    for round in 0..<3000 {
      // Small bytes make deltas that go on for longer before they are wrong.
      let most = [255, 127, 40, 6, 2][round % 5] as UInt8
      let count = Int.random(in: 0...(round % 3 == 0 ? 400 : 24), using: &generator)
      let delta = (0..<count).map { _ in UInt8.random(in: 0...most, using: &generator) }
      #expect(problem(delta, tier: tier) == nil, "\(tier), round \(round), seed 351")
    }
  }

  @Test("Deltas with wrong bytes are refused or applied as by the reference", arguments: KernelTier.available)
  func mutated(tier: KernelTier) {
    var generator = SeededGenerator(seed: 361)
    for round in 0..<1500 {
      let (base, page) = DeltaShape.allCases[1 + round % 8].pair(using: &generator)
      var delta = Array(Reference.delta(from: base, to: page).prefix(700))
      for _ in 0...round % 3 {
        let at = Int.random(in: 0..<max(1, delta.count), using: &generator)
        guard at < delta.count else { break }
        switch round % 4 {
        case 0: delta[at] ^= 1 << UInt8.random(in: 0...7, using: &generator)
        case 1: delta[at] = UInt8.random(in: 0...255, using: &generator)
        case 2: delta.remove(at: at)
        default: delta.insert(UInt8.random(in: 0...255, using: &generator), at: at)
        }
      }
      #expect(problem(delta, tier: tier) == nil, "\(tier), round \(round), seed 361")
    }
  }
}
