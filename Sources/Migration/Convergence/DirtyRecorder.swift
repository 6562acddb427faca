// SPDX-License-Identifier: Apache-2.0
public import Convergence
public import GuestMemory
import HostSystem
import PageModel

/// Records how a guest dirties its memory: before it moves, and while it does.
///
/// Looks at some stripes of 2 MiB, evenly spread, ten times a second, and takes them for all. Belongs to one thread.
public final class DirtyRecorder {
  /// Stripes that are looked at, at most: a gigabyte of memory.
  private static let stripeMax = 512
  private static let tick: UInt64 = 100_000_000

  /// A stripe that is looked at.
  private struct Place {
    var block: Int
    var spans: Range<Int>
  }

  private let guest: any Guest
  private let log: any DirtyLog
  private let places: [Place]
  private let stripesOfGuest: Int
  private let began = HostClock.now()
  /// While the guest moves.
  private var ages: StripeAges?
  private var lookedAt: UInt64 = 0

  /// - Returns: nil for a guest that does not run: it has no log.
  public init?(_ guest: any Guest) {
    guard let log = guest.dirtyLog else { return nil }
    self.guest = guest
    self.log = log
    let blocks = guest.memory.blocks
    var all: [Place] = []
    for block in blocks.blocks.indices {
      let spanCount = blocks.spanCount(block: block)
      for first in stride(from: 0, to: spanCount, by: PageGeometry.spansPerStripe) {
        all.append(Place(block: block, spans: first..<min(first + PageGeometry.spansPerStripe, spanCount)))
      }
    }
    stripesOfGuest = all.count
    let count = min(Self.stripeMax, all.count)
    places = (0..<count).map { all[$0 * all.count / count] }
  }

  /// The first line of a trace of this guest.
  /// - Parameters:
  ///   - tool: program and version.
  ///   - recordedAt: in seconds since 1970.
  public func header(tool: String, recordedAt: Double?) -> DirtyTrace.Header {
    DirtyTrace.Header(memoryBytes: guest.memory.blocks.byteCount, recordedAt: recordedAt, tool: tool)
  }

  // MARK: Before the move

  /// Records while nobody else uses the log, which is started for it and stopped again.
  /// - Parameters:
  ///   - seconds: for how long.
  ///   - take: called with each sample, ten times a second; false ends the recording.
  public func record(
    seconds: Double, _ take: (DirtyTrace.Sample) -> Bool
  ) throws(GuestMemoryError) {
    try log.start()
    defer { log.stop() }
    let started = HostClock.now()
    var words = [PageMask](repeating: 0, count: places.count * PageGeometry.spansPerStripe)
    // The start may have left marks; what a window counts begins here.
    _ = try takeWritten(&words)
    var windows = StripeWindows(
      spanCount: words.count, scale: Double(stripesOfGuest) / Double(places.count), now: HostClock.now())
    let costs = PageCostSampler(guest.memory)
    let ticks = max(1, Int((seconds * 1e9 / Double(Self.tick)).rounded()))
    for tick in 1...ticks {
      let due = started + UInt64(tick) * Self.tick
      let now = HostClock.now()
      if due > now { HostClock.sleep(nanoseconds: due - now) }
      let at = try takeWritten(&words)
      var sample = DirtyTrace.Sample(t: Double(at - began) / 1e9, windows: windows.note(words, now: at))
      sample.workingSetPages = windows.workingSetPages
      if tick == (ticks + 1) / 2 { costs?.keepWritten { written(windows, $0) } }
      if tick == ticks { sample.place = windows.place }
      if tick == ticks { sample.content = costs?.costs(populatedPages: populatedPages) }
      guard take(sample) else { return }
    }
  }

  /// What was written since the last call, one word per span that is looked at.
  /// - Returns: when the middle of them was looked at.
  private func takeWritten(_ words: inout [PageMask]) throws(GuestMemoryError) -> UInt64 {
    let from = HostClock.now()
    for (index, place) in places.enumerated() {
      let masks = try log.rearm(block: place.block, spans: place.spans)
      for span in 0..<PageGeometry.spansPerStripe { words[index * PageGeometry.spansPerStripe + span] = masks[span] }
    }
    return from + (HostClock.now() - from) / 2
  }

  /// Up to so many spans that were written to, and their written pages.
  private func written(_ windows: StripeWindows, _ count: Int) -> [PageCostSampler.Written] {
    var all: [PageCostSampler.Written] = []
    for (index, place) in places.enumerated() {
      for (number, span) in place.spans.enumerated() {
        let pages = windows.pages(index * PageGeometry.spansPerStripe + number)
        if pages != 0 { all.append(.init(block: place.block, span: span, pages: pages)) }
      }
    }
    let taken = min(count, all.count)
    return (0..<taken).map { all[$0 * all.count / taken] }
  }

  /// Pages that may hold something; nil if the log does not know.
  private var populatedPages: [SpanMap]? {
    var maps: [SpanMap] = []
    for block in guest.memory.blocks.blocks.indices {
      guard let map = log.populatedPages(block: block) else { return nil }
      maps.append(map)
    }
    return maps
  }

  // MARK: While it moves

  /// Looks once, without taking anything from the log that is at work.
  /// - Parameter isMoving: whether the log is at work: asked before and after, because a log that has been stopped says
  ///   nothing true.
  /// - Returns: false if the log is not at work, or cannot look without forgetting.
  public func look(isMoving: () -> Bool) -> Bool {
    guard isMoving() else { return false }
    let now = HostClock.now()
    var seen = ages ?? StripeAges(stripeCount: places.count, stripesOfGuest: stripesOfGuest, now: now)
    for (index, place) in places.enumerated() {
      guard let masks = try? log.peek(block: place.block, spans: place.spans) else { return false }
      seen.note(stripe: index, masks, before: lookedAt == 0 ? now : lookedAt, now: now)
    }
    guard isMoving() else { return false }
    ages = seen
    lookedAt = now
    return true
  }

  /// What was seen since the last call; nil if there is nothing to say.
  public func sampleWhileMoving() -> DirtyTrace.Sample? {
    guard let windows = ages?.windows(), !windows.isEmpty else { return nil }
    return DirtyTrace.Sample(t: Double(HostClock.now() - began) / 1e9, windows: windows)
  }
}
