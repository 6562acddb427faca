// SPDX-License-Identifier: Apache-2.0
import Testing
import Workload

@Suite("Plans of embedded guests")
struct PlanTests {
  @Test("Every pattern is read as it is described", arguments: writingPatterns + [.idle, .growing(seconds: 86_400)])
  func patternRoundTrip(pattern: WorkloadPattern) throws {
    #expect(try WorkloadPattern(parsing: pattern.description) == pattern)
  }

  @Test("A growing pattern takes a minute unless told otherwise")
  func growthDefault() throws {
    #expect(try WorkloadPattern(parsing: "growing") == .growing(seconds: 60))
  }

  @Test(
    "What is no pattern is refused with a sentence that helps",
    arguments: [
      ("", "unknown pattern ''; known: idle, sparse, pages, sequential, hot, growing[:SECONDS]"),
      ("Sparse", "unknown pattern 'Sparse'; known: idle, sparse, pages, sequential, hot, growing[:SECONDS]"),
      ("growing:", "pattern growing: '' is not a whole number of seconds from 1 to 86400"),
      ("growing:0", "pattern growing: '0' is not a whole number of seconds from 1 to 86400"),
      ("growing:+5", "pattern growing: '+5' is not a whole number of seconds from 1 to 86400"),
      ("growing:1e3", "pattern growing: '1e3' is not a whole number of seconds from 1 to 86400"),
    ])
  func patternRefusals(text: String, sentence: String) {
    #expect { try WorkloadPattern(parsing: text) } throws: { "\($0)" == sentence }
  }

  @Test("A mix is three percentages that add up to 100")
  func mixes() throws {
    #expect(try ContentMix(parsing: "25:45:30") == .standard)
    #expect(try ContentMix(parsing: "0:0:100").description == "0:0:100")
    for text in ["", "25:45", "25:45:31", "25:45:30:0", "25:45:30:", "-5:75:30", "+25:45:30", "a:b:c", "100", "::"] {
      #expect(throws: WorkloadError.badMix(found: text), "'\(text)'") { try ContentMix(parsing: text) }
    }
  }

  private static let guestByteCount: UInt64 = 1 << 20

  private static func check(_ change: (inout WorkloadPlan) -> Void) -> WorkloadError? {
    var plan = WorkloadPlan(pattern: .sparse)
    change(&plan)
    do throws(WorkloadError) { try plan.check(guestByteCount: guestByteCount) } catch { return error }
    return nil
  }

  @Test("A plan that a guest cannot carry out is refused, and says why")
  func refusals() {
    #expect(Self.check { _ in } == nil)
    #expect(Self.check { $0.megabytesPerSecond = -1 } == .badRate(found: -1, allowed: 0...1e6))
    #expect(Self.check { $0.megabytesPerSecond = .infinity } == .badRate(found: .infinity, allowed: 0...1e6))
    #expect(Self.check { $0.megabytesPerSecond = .nan } != nil)
    #expect(Self.check { $0.threadCount = 0 } == .badThreadCount(found: 0, allowed: 1...64))
    #expect(Self.check { $0.threadCount = 65 } == .badThreadCount(found: 65, allowed: 1...64))
    #expect(Self.check { $0.compressibility = 101 } == .badCompressibility(found: 101))
    #expect(Self.check { $0.mix.zero = 26 } == .badMix(found: "26:45:30"))
    #expect(Self.check { $0.mix = ContentMix(zero: .max, text: .max, random: 1) } != nil)
    #expect(Self.check { $0.workingSetOffset = 5 } == .workingSetNotPages(field: "offset", found: 5))
    #expect(Self.check { $0.workingSetByteCount = 4097 } == .workingSetNotPages(field: "size", found: 4097))
    let outside = WorkloadError.workingSetOutside(offset: 4096, byteCount: 1 << 20, guestByteCount: 1 << 20)
    #expect(
      Self.check {
        $0.workingSetOffset = 4096
        $0.workingSetByteCount = 1 << 20
      } == outside)
    #expect(
      Self.check {
        $0.workingSetOffset = 1 << 20
      } == .workingSetOutside(offset: 1 << 20, byteCount: 0, guestByteCount: 1 << 20))
    #expect(
      Self.check {
        $0.workingSetByteCount = 4096
        $0.threadCount = 2
      } == .tooFewPages(found: 1, threadCount: 2))
    #expect(Self.check { $0.pattern = .growing(seconds: 0) } == .badGrowth(found: "0", allowed: 1...86_400))
  }

  @Test("A plan describes itself in a line")
  func description() {
    let plan = WorkloadPlan(
      pattern: .sparse, megabytesPerSecond: 50, workingSetByteCount: 512 << 20, threadCount: 2)
    #expect(plan.description == "sparse, 50 MB/s over 512 MiB, 2 threads")
    #expect(WorkloadPlan(pattern: .hot).description == "hot, as fast as possible over all memory, 1 thread")
    #expect(WorkloadPlan(pattern: .idle).description == "idle")
  }
}
