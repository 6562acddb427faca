// SPDX-License-Identifier: Apache-2.0
import HostSystem
import TestSupport
import Testing

@Suite struct CPUSetTests {
  @Test(
    "A list says what it says",
    arguments: [
      ("", []), ("0", [0]), ("0-3,8,10-11", [0, 1, 2, 3, 8, 10, 11]), (" 5,4 \n", [4, 5]), ("7,7-7,6-8", [6, 7, 8]),
      ("8191", [8191]), ("007", [7]),
    ])
  func parses(text: String, numbers: [Int]) throws {
    #expect(try CPUSet(parsing: text).numbers == numbers)
  }

  @Test("What is printed is read back as the same set, for random sets")
  func roundTrip() throws {
    var random = SeededGenerator(seed: 41)
    for _ in 0..<500 {
      // From single numbers to long runs, so that ranges of every length come up.
      let span = Int.random(in: 1...200, using: &random)
      let base = Int.random(in: 0...(CPUSet.numberMax - span), using: &random)
      let set = CPUSet((0..<span).filter { _ in UInt8.random(in: 0...3, using: &random) > 0 }.map { base + $0 })
      #expect(try CPUSet(parsing: "\(set)") == set)
    }
    #expect("\(try CPUSet(parsing: "11,10,0,1,2,3,8"))" == "0-3,8,10-11")
  }

  @Test(
    "Bad text is refused with the part that is bad",
    arguments: [
      (",", "''"), ("0,", "''"), ("1,,2", "''"), ("-1", "'-1'"), ("1-", "'1-'"), ("a", "'a'"), ("0-3,x", "'x'"),
      ("0x10", "'0x10'"), ("1-2-3", "'1-2-3'"), ("+1", "'+1'"), ("1 2", "'1 2'"), ("٣", "'٣'"),
      ("0-6:2/3", "'0-6:2/3'"),
      ("3-1", "ends before it begins"), ("8192", "8191"), ("0-99999999999999999999", "8191"),
      ("1\u{1b}[2J", "'1?[2J'"),
    ])
  func refuses(text: String, says: String) {
    let error = #expect(throws: CPUListError.self) { try CPUSet(parsing: text) }
    #expect(error?.description.contains(says) == true, "\(error.map { "\($0)" } ?? "accepted")")
  }

  @Test("Hostile lengths cost little, and errors stay short")
  func hostile() {
    let long = String(repeating: "9", count: 100_000)
    let error = #expect(throws: CPUListError.self) { try CPUSet(parsing: long) }
    #expect((error?.description.count ?? 0) < 120)
    #expect(throws: Never.self) { try CPUSet(parsing: String(repeating: "0-8191,", count: 20) + "1") }
    var random = SeededGenerator(seed: 42)
    for _ in 0..<2000 {
      let text = String((0..<8).map { _ in "0123456789-,, \u{0}a".randomElement(using: &random) ?? "0" })
      // Whatever it is, what is accepted prints as a list that means the same.
      if let set = try? CPUSet(parsing: text) { #expect((try? CPUSet(parsing: "\(set)")) == set, "\(text)") }
    }
  }

  @Test("Sets are cut, joined and taken apart")
  func algebra() {
    let (low, high): (CPUSet, CPUSet) = ([0, 1, 2, 3], [2, 3, 4])
    #expect(low.intersection(high) == [2, 3])
    #expect(low.union(high) == [0, 1, 2, 3, 4])
    #expect(low.subtracting(high) == [0, 1])
    #expect(CPUSet([5, -1, 8192, 5]) == [5])
  }
}
