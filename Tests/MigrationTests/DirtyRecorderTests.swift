// SPDX-License-Identifier: Apache-2.0
import Convergence
import GuestMemory
import HostSystem
import PageModel
import Testing
import Workload

@testable import Migration

@Suite("Recording how a guest dirties its memory")
struct DirtyRecorderTests {
  @Test("Windows of 1, 2, 4 … ticks join what was written in each, and count a page once")
  func windows() {
    var windows = StripeWindows(spanCount: 2, scale: 3, now: 1_000_000_000)
    var found: [[DirtyTrace.Window]] = []
    for tick in 1...4 {
      // A page that is always written, and one that is new each time.
      let written: [PageMask] = [1, 1 << PageMask(tick)]
      found.append(windows.note(written, now: 1_000_000_000 + UInt64(tick) * 100_000_000))
    }
    #expect(found.map { $0.map { $0.pages } } == [[6], [6, 9], [6], [6, 9, 15]])
    #expect(found[3].map { ($0.seconds * 10).rounded() } == [1, 2, 4])
    #expect(found[3].allSatisfy { $0.spans == 6 })
    #expect(windows.place == [0, 1])
    #expect(windows.workingSetPages == 15 && windows.pages(1) == 0b11110)
  }

  @Test("Where somebody else reads, each stripe is a window that begins when it was read")
  func ages() {
    var ages = StripeAges(stripeCount: 1, stripesOfGuest: 10, now: 0)
    var masks = StripeMasks(repeating: 0)
    let tick: UInt64 = 100_000_000
    // A page a tick; read by a lane between the fourth look and the fifth.
    for look in 1...8 {
      if look == 5 { masks = StripeMasks(repeating: 0) }
      masks[look % 8] |= 1
      ages.note(stripe: 0, masks, before: UInt64(look - 1) * tick, now: UInt64(look) * tick)
    }
    let found = ages.windows()
    // Ages 0.1, 0.2, 0.3 and 0.4 s before, 0.05 to 0.35 after: around 0.1 s 1 and 2 pages, and so on.
    #expect(found.count == 3)
    #expect(found.map { ($0.pages / 10).rounded() } == [2, 3, 4])
    #expect(zip(found, found.dropFirst()).allSatisfy { $0.seconds < $1.seconds })
    #expect(ages.windows().isEmpty)
  }

  @Test("Stripes that nobody writes to do not make the others count more")
  func agesOfSome() {
    var ages = StripeAges(stripeCount: 4, stripesOfGuest: 40, now: 0)
    let tick: UInt64 = 100_000_000
    // One stripe of four gets eight pages a tick, and is read after every second; long after the others should have been.
    for look in 1...40 {
      var masks = StripeMasks(repeating: 0)
      masks[0] = look % 2 == 1 ? 0xff : 0xffff
      for stripe in 0..<4 {
        ages.note(
          stripe: stripe, stripe == 2 ? masks : StripeMasks(repeating: 0), before: UInt64(look - 1) * tick,
          now: UInt64(look) * tick)
      }
      if look == 20 { _ = ages.windows() }
    }
    let found = ages.windows()
    #expect(!found.isEmpty && found.allSatisfy { $0.pages >= 80 && $0.pages <= 160 }, "\(found)")
  }

  private static let refusal = DirtyTracking.refusal(of: .automatic)

  @Test("A real guest: the curve is that of its plan, and nothing is taken from a migration that looks on")
  func guest() throws {
    guard Self.refusal == nil else { return print("NOT TESTED: the recorder: \(Self.refusal.map { "\($0)" } ?? "")") }
    let blocks = try BlockTable([RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: 64 << 20)])
    let memory = try AnonymousMemory(blocks: blocks, populateAhead: false)
    let log = try DirtyTracking.log(for: memory)
    let plan = WorkloadPlan(pattern: .sparse, megabytesPerSecond: 20, workingSetByteCount: 16 << 20)
    let guest = try WorkloadGuest(plan, memory: memory, dirtyLog: log)
    guest.fill()
    guest.start()
    defer { guest.stop() }
    let recorder = try #require(DirtyRecorder(guest))
    var trace = try DirtyTrace(recorder.header(tool: "test", recordedAt: nil))
    var samples: [DirtyTrace.Sample] = []
    let before = guest.statistics.writes
    try recorder.record(seconds: 0.8) {
      samples.append($0)
      return true
    }
    let writes = Double(guest.statistics.writes - before)
    for sample in samples { try trace.append(sample) }
    #expect(samples.count == 8)
    // Never more pages than writes; and not many fewer, since few pages are hit twice in so short a time.
    let all = try #require(samples.last?.workingSetPages)
    // (On a busy machine it takes longer, and they are.)
    #expect(all <= writes && all > min(writes, 3000) * 0.5 && all <= 4096)
    // It writes to the first quarter of its memory.
    let place = try #require(trace.place)
    #expect(place.lowerBound < 0.05 && place.upperBound > 0.2 && place.upperBound < 0.26)
    #expect(try #require(trace.spanCurve).workingSet <= 64.001)
    let content = try #require(trace.content)
    #expect(content.codecs.map { $0.codec } == ["lz4:1", "zstd:1"])
    #expect(content.codecs.allSatisfy { $0.bytesPerPage > 100 && $0.bytesPerPage <= 4096 })
    // Three places of 8 bytes in a page.
    if let bytes = content.deltaBytesPerPage { #expect(bytes > 5 && bytes < 100) }

    try log.start()
    defer { log.stop() }
    HostClock.sleep(nanoseconds: 50_000_000)
    #expect(recorder.look { true })
    #expect(!recorder.look { false })
    let maps = blocks.blocks.map { SpanMap(block: $0) }
    try log.sync(into: maps)
    #expect(maps[0].count() > 0)
  }
}
