// SPDX-License-Identifier: Apache-2.0
import Convergence
import GuestMemory
import HostSystem
import Lanes
import PageModel
import Wire

/// Iterations: everything once, then what was dirtied meanwhile, until what is left fits into the downtime.
///
/// Belongs to the session's thread.
struct PreCopy {
  private let guest: any Guest
  private let pending: [SpanMap]
  private let heat: SpanHeat
  private let pipeline: SendingPipeline
  private let dialogue: SourceDialogue
  private let record: SourceRecord
  private let steering: Steering
  private var test: SwitchoverTest
  private var number: UInt32 = 0
  private var lastSyncAt: UInt64
  /// Between two iterations of a guest that could be handed over and stays.
  private static let holdInterval: UInt64 = 100_000_000

  /// Pages that the last iteration left pending on purpose.
  private var heldBackPages = 0

  /// - Parameters:
  ///   - roundTrip: nanoseconds that the peer's shortest answer took.
  ///   - loggedSince: when the guest's dirty log began, on the monotonic clock.
  init(
    guest: any Guest, pending: [SpanMap], heat: SpanHeat, pipeline: SendingPipeline, dialogue: SourceDialogue,
    record: SourceRecord, steering: Steering, roundTrip: UInt64, loggedSince: UInt64
  ) {
    self.guest = guest
    self.pending = pending
    self.heat = heat
    self.pipeline = pipeline
    self.dialogue = dialogue
    self.record = record
    self.steering = steering
    test = SwitchoverTest(limit: steering.allowedDowntime, roundTrip: roundTrip)
    lastSyncAt = loggedSince
  }

  /// Runs iterations until the guest may be paused. A guest that does not run takes one: the bulk stage.
  mutating func run() throws(MigrationFailure) {
    try iterate(.bulk, pendingPages: pendingPageCount, sync: 0, dirtied: 0)
    guard let log = guest.dirtyLog else { return }
    while !steering.mustSwitchOver {
      let started = HostClock.now()
      try Self.sync(log, into: pending)
      let sync = HostClock.now() - started
      let (hot, cool) = heat.update(from: pending)
      let dirtied = Double(hot + cool - min(heldBackPages, hot + cool)) * 1e9 / Double(max(1, started - lastSyncAt))
      lastSyncAt = started
      test.linkRate = steering.linkRate
      test.limit = steering.allowedDowntime
      let decision = test.decide(hot: hot, cool: cool, sync: sync)
      let expected = test.expected ?? 0
      record.noteSync(
        pendingPages: hot + cool, dirtyPagesPerSecond: dirtied, expectedDowntime: expected,
        allowedDowntime: test.limit)
      steering.noteSync(
        pagesPerSecond: dirtied, expected: Double(expected) / 1e9, fixed: Double(test.least + sync) / 1e9)
      guard case .iterate(let holdBack) = decision else {
        guard steering.holds else { return }
        // Everything is as good as there, and the operator wants the guest to stay: what it writes goes as it comes.
        try dialogue.idle(nanoseconds: Self.holdInterval)
        try iterate(.again(holdBack: false), pendingPages: hot + cool, sync: sync, dirtied: dirtied)
        continue
      }
      heldBackPages = holdBack ? hot : 0
      try iterate(.again(holdBack: holdBack), pendingPages: hot + cool, sync: sync, dirtied: dirtied)
    }
  }

  /// The guest is paused: looks at the log once more, and has everything that is left sent.
  ///
  /// Returns when the lanes are at work; ``finishLast(_:)`` waits for them.
  mutating func beginLast() throws(MigrationFailure) -> Begun {
    let started = HostClock.now()
    if let log = guest.dirtyLog { try Self.sync(log, into: pending) }
    let sync = HostClock.now() - started
    let pages = pendingPageCount
    record.noteSync(pendingPages: pages, dirtyPagesPerSecond: nil, expectedDowntime: test.expected)
    return try begin(.last, pendingPages: pages, sync: sync, dirtied: 0)
  }

  /// Waits until the lanes have sent everything, and tells the destination how much that is.
  mutating func finishLast(_ begun: Begun, until deadline: UInt64?) throws(MigrationFailure) {
    try produce(begun, until: deadline)
  }

  /// Notes what the last iteration did, once the destination has it all.
  func noteLast(_ begun: Begun) { steering.note(note(begun), isLast: true) }

  private static func sync(_ log: any DirtyLog, into pending: [SpanMap]) throws(MigrationFailure) {
    do throws(GuestMemoryError) { try log.sync(into: pending) } catch { throw MigrationFailure(input: error) }
  }

  private var pendingPageCount: Int { pending.reduce(0) { $0 + $1.count() } }

  // MARK: One iteration

  /// An iteration that is under way.
  struct Begun {
    var iteration: Iteration
    var startedAt: UInt64
    var before: SendingStatistics
    var wireBefore: UInt64
    var report: IterationReport
  }

  private mutating func iterate(
    _ kind: Iteration.Kind, pendingPages: Int, sync: UInt64, dirtied: Double
  ) throws(MigrationFailure) {
    let begun = try begin(kind, pendingPages: pendingPages, sync: sync, dirtied: dirtied)
    try produce(begun, until: nil)
    let number = begun.iteration.number
    try dialogue.wait { event in
      if case .message(.ack(let ack)) = event { ack.completedIteration == number } else { false }
    }
    let report = note(begun)
    steering.note(report, isLast: false)
    test.linkRate = steering.linkRate
    // Of the bulk stage, what travelled: pages that are dirtied are hardly ever zero.
    let pages = report.iteration == 1 ? report.donePages - report.zeroPages : report.donePages
    test.note(pages: Int(pages), nanoseconds: UInt64(report.seconds * 1e9), wireBytes: report.wireBytes)
  }

  private mutating func begin(
    _ kind: Iteration.Kind, pendingPages: Int, sync: UInt64, dirtied: Double
  ) throws(MigrationFailure) -> Begun {
    number += 1
    var report = IterationReport(iteration: Int(number), pendingPages: pendingPages)
    report.syncMilliseconds = Double(sync) / 1e6
    report.dirtyPagesPerSecond = dirtied
    report.expectedDowntime = test.expected.map { Double($0) / 1e6 }
    let begun = Begun(
      iteration: Iteration(number: number, kind: kind), startedAt: HostClock.now(), before: pipeline.statistics,
      wireBefore: pipeline.sentByteCount, report: report)
    record.begin(report)
    try dialogue.send(.iterationBegin(.init(iteration: number, pageCount: UInt64(pendingPages))))
    pipeline.begin(begun.iteration)
    return begun
  }

  /// Waits until every lane has put its last frame into its ring, and says how many pages there were.
  private func produce(_ begun: Begun, until deadline: UInt64?) throws(MigrationFailure) {
    let number = begun.iteration.number
    try dialogue.wait(until: deadline) { event in
      if case .sending(.iterationProduced(number)) = event { true } else { false }
    }
    let sent = pipeline.statistics
    try dialogue.send(
      .iterationEnd(
        .init(
          iteration: number, zeroPageCount: sent.zeroPages, dataPageCount: sent.dataPages,
          deltaPageCount: sent.deltaPages)))
  }

  private func note(_ begun: Begun) -> IterationReport {
    let now = pipeline.statistics
    var report = begun.report
    report.zeroPages = now.zeroPages - begun.before.zeroPages
    report.dataPages = now.dataPages - begun.before.dataPages
    report.deltaPages = now.deltaPages - begun.before.deltaPages
    report.unchangedPages = now.unchangedPages - begun.before.unchangedPages
    report.deferredPages = now.deferredPages - begun.before.deferredPages
    report.cacheHits = now.cacheHits - begun.before.cacheHits
    report.cacheMisses = now.cacheMisses - begun.before.cacheMisses
    report.throttlePercent = steering.throttlePercent
    report.wireBytes = pipeline.sentByteCount - begun.wireBefore
    report.seconds = Double(HostClock.now() - begun.startedAt) / 1e9
    record.end(report)
    return report
  }
}
