// SPDX-License-Identifier: Apache-2.0
import PageModel

/// The course of one simulated migration.
struct ForecastCourse {
  private let input: ForecastInput
  private(set) var outcome: ForecastOutcome
  private var test: SwitchoverTest
  private var ramp = DowntimeRamp()
  private var clock: GuestClock
  /// Those that the last walk went over come first.
  private var populations: [ForecastPopulation] = []
  private var walkedCount = 0
  /// Pages pending after the last sync, in spans that are not hot and in hot ones.
  private var cool = 0.0
  private var hot = 0.0
  /// Share of the working set that is in hot spans.
  private var hotShare = 0.0
  /// Whether the last iteration held hot spans back, and how many pages: then they are populations of their own.
  private var isHeldBack = false
  private var heldPages = 0.0
  /// Bytes of guest memory per second that the last iterations sent.
  private var transferRate: Double
  private var repeats = 0

  init(_ input: ForecastInput) {
    self.input = input
    outcome = ForecastOutcome(
      converges: false, iterations: [], totalSeconds: input.setupSeconds, downtime: nil, wireBytes: 0,
      meanThrottlePercent: 0)
    test = SwitchoverTest(
      limit: Self.nanoseconds(input.downtimeLimitSeconds), roundTrip: Self.nanoseconds(input.roundTripSeconds))
    clock = GuestClock(input.steering, setup: input.setupSeconds)
    transferRate = input.linkBytesPerSecond * Self.page / input.bulkBytesPerPage
  }

  private static func nanoseconds(_ seconds: Double) -> UInt64 { UInt64(min(1e18, max(0, seconds * 1e9))) }

  /// Pages as the switchover test counts them.
  private static func whole(_ pages: Double) -> Int { Int(min(1e15, max(0, pages.rounded()))) }

  private static let page = Double(PageGeometry.pageByteCount)
  /// Iterations with fewer pages say little about a rate.
  private static let tellingPages = 1024.0

  private var curve: DirtyCurve { input.curve }
  private var spans: DirtyCurve { input.spanCurve ?? input.curve.inWrittenSpans }
  /// Percent of its time that the guest may not run now.
  private var throttlePercent: Double { clock.throttle * 100 }

  /// Iterations in a row that left the same, and nothing that would change it.
  var isSteady: Bool {
    let policy = input.steering.policy
    let limit = input.downtimeLimitSeconds
    guard ramp.allowed(limit: limit, policy: policy) >= limit else { return false }
    return repeats >= (policy.contains(.localMinimum) ? 12 : 2) && clock.isFinal
  }

  /// Whether there is no more time: the guest is paused, or the migration cancelled.
  var isPastDeadline: Bool { clock.isPastDeadline }

  /// What there is to say at the end.
  var finished: ForecastOutcome {
    var outcome = outcome
    outcome.meanThrottlePercent = clock.meanThrottlePercent
    return outcome
  }

  // MARK: Iterations

  /// Everything once: what is not written first, then whole spans that are.
  mutating func bulk() {
    let zero = max(0, min(input.zeroPages, input.memoryPages - input.holePages))
    let data = max(0, input.memoryPages - input.holePages - zero)
    let bytes = data * input.bulkBytesPerPage
    let work = data * input.bulkSecondsPerPage + zero * input.zeroSecondsPerPage
    let seconds = input.fixedSeconds + max(bytes / input.linkBytesPerSecond, work)
    let pace = clock.pace
    let lead = input.logLeadSeconds * pace
    let walk = clock.pass(seconds, nil)
    // A span that was written to before its turn waits until everything else is sent.
    let workingSet = min(data, curve.workingSet)
    var share = workingSet > 0 ? 1.0 : 0
    var first = 0.0
    for _ in 0..<3 where workingSet > 0 {
      first = max(0, seconds - workingSet * share * input.bulkSeconds)
      let (from, to) = (first * input.writtenFrom / seconds, first * input.writtenTo / seconds)
      let (youngest, oldest) = (lead + walk.guestSeconds(at: from), lead + walk.guestSeconds(at: to))
      share = min(1, spans.meanPages(from: youngest, to: oldest) / max(spans.workingSet, 1e-9))
    }
    let second = min(seconds, workingSet * share * input.bulkSeconds)
    let all = walk.guestSeconds()
    func age(at moment: Double) -> Double { all - walk.guestSeconds(at: seconds > 0 ? moment / seconds : 1) }
    populations = [
      ForecastPopulation(share: share, youngest: 0, oldest: age(at: seconds - second)),
      ForecastPopulation(
        share: 1 - share, youngest: age(at: first * input.writtenTo), oldest: age(at: first * input.writtenFrom)),
    ]
    walkedCount = 2
    note(pending: data + zero, sent: data + zero, seconds: seconds, bytes: bytes)
    split()
  }

  /// What was dirtied meanwhile, or of it what is not hot.
  mutating func again(holdBack: Bool) {
    let load = GuestClock.Load(curve: curve, transferRate: transferRate)
    let walked = holdBack ? coolPopulations : populations
    let rest = holdBack ? hotPopulations : []
    let pending = hot + cool
    // What is dirtied before its turn goes along, which takes longer, so that there is more of it.
    var sent = holdBack ? cool : pending
    for _ in 0..<30 {
      var ahead = clock
      let walk = ahead.pass(input.fixedSeconds + sent * input.hotSeconds, load)
      let found = walked.reduce(0) { $0 + $1.found(curve, by: walk) }
      let isSettled = abs(found - sent) <= 1e-4 * max(1, sent)
      sent = found
      if isSettled { break }
    }
    let seconds = input.fixedSeconds + sent * input.hotSeconds
    let walk = clock.pass(seconds, load)
    if sent >= Self.tellingPages { transferRate = sent * Self.page / seconds }
    populations = ForecastPopulation.walked(walk, share: walked.reduce(0) { $0 + $1.share })
    walkedCount = populations.count
    let aged = walk.guestSeconds() + input.syncSeconds * clock.pace
    populations += rest.map { $0.aged(aged) }
    if !holdBack {
      // Spans that are written to in every iteration are hot from the second sync on.
      hotShare = min(1, spans.pages(in: walk.guestSeconds()) / max(spans.workingSet, 1e-9))
    }
    heldPages = holdBack ? hot : 0
    isHeldBack = holdBack
    note(pending: pending, sent: sent, seconds: seconds, bytes: sent * input.hotBytesPerPage)
    split()
  }

  /// What is walked if hot spans are held back: the populations without what of them is hot.
  private var coolPopulations: [ForecastPopulation] {
    if isHeldBack { return Array(populations.prefix(walkedCount)) }
    return populations.map { $0.part(1 - hotShare) }
  }

  private var hotPopulations: [ForecastPopulation] {
    if isHeldBack { return Array(populations.dropFirst(walkedCount)) }
    return populations.map { $0.part(hotShare) }
  }

  /// Divides what is dirty into what is hot and what is not.
  private mutating func split() {
    let dirty = populations.map { $0.dirty(curve) }
    let total = dirty.reduce(0, +)
    cool = isHeldBack ? dirty.prefix(walkedCount).reduce(0, +) : total * (1 - hotShare)
    hot = total - cool
  }

  private mutating func note(pending: Double, sent: Double, seconds: Double, bytes: Double) {
    let dirtied = populations.reduce(0) { $0 + $1.dirty(curve) }
    test.note(pages: Self.whole(sent), nanoseconds: Self.nanoseconds(seconds))
    let before = outcome.iterations.last
    let isSame = before.map { abs($0.dirtiedPages - dirtied) <= 0.005 * max(1, dirtied) } ?? false
    repeats = isSame && abs((before?.throttlePercent ?? 0) - throttlePercent) < 0.1 ? repeats + 1 : 0
    outcome.iterations.append(
      ForecastOutcome.Iteration(
        number: outcome.iterations.count + 1, pendingPages: pending, sentPages: sent, seconds: seconds,
        wireBytes: bytes, dirtiedPages: dirtied, expectedDowntimeSeconds: 0, throttlePercent: throttlePercent,
        holdsBack: isHeldBack))
    outcome.wireBytes += bytes
    _ = clock.pass(input.syncSeconds, nil)
    outcome.totalSeconds = clock.now
  }

  // MARK: The end

  mutating func decide() -> SwitchoverTest.Decision {
    let limit = ramp.allowed(limit: input.downtimeLimitSeconds, policy: input.steering.policy)
    test.limit = Self.nanoseconds(limit)
    let decision = test.decide(
      hot: Self.whole(hot), cool: Self.whole(cool), sync: Self.nanoseconds(input.syncSeconds))
    outcome.iterations[outcome.iterations.count - 1].expectedDowntimeSeconds = Double(test.expected ?? 0) / 1e9
    ramp.note(expected: Double(test.expected ?? 0) / 1e9)
    return decision
  }

  /// Iterations go on as the last one until the deadline, which comes in the middle of one; false if there is none.
  mutating func skipToDeadline() -> Bool {
    guard let deadline = input.steering.deadlineSeconds, let last = outcome.iterations.last else { return false }
    let skipped = deadline - clock.now - last.seconds / 2
    if skipped > 0 {
      _ = clock.pass(skipped, nil)
      outcome.wireBytes += last.wireBytes * skipped / max(last.seconds, 1e-9)
    }
    again(holdBack: false)
    return true
  }

  /// - Parameter isForced: by the deadline, however long the downtime is.
  mutating func handOver(isForced: Bool) {
    let pages = hot + cool
    let transfer = input.fixedSeconds + pages * input.hotSeconds
    let rest = input.handOverSeconds + input.roundTripSeconds
    // A guest that was paused at the deadline waited until the iteration was over.
    let waited = max(0, clock.now - (input.steering.deadlineSeconds ?? .infinity))
    let atLast = input.syncSeconds + transfer + rest
    outcome.converges = !isForced || waited + atLast <= input.downtimeLimitSeconds
    outcome.downtime = ForecastOutcome.Downtime(
      seconds: waited + atLast, sync: input.syncSeconds, transfer: waited + transfer, handOver: rest, pages: pages)
    outcome.totalSeconds += atLast
    outcome.wireBytes += pages * input.hotBytesPerPage
  }
}
