// SPDX-License-Identifier: Apache-2.0
import PageModel

/// The course of one simulated migration.
struct ForecastCourse {
  /// A part of the working set whose pages were read, and re-armed, at ages between two bounds before the last sync.
  /// Its pages are in the order of the walk: the oldest first. Ages are in the guest's own seconds, which pass more
  /// slowly while it is throttled.
  private struct Population {
    /// Of the working set.
    var share: Double
    var youngest: Double
    var oldest: Double

    func part(_ part: Double) -> Population {
      Population(share: share * part, youngest: youngest, oldest: oldest)
    }

    func dirty(_ curve: DirtyCurve) -> Double { share * curve.meanPages(from: youngest, to: oldest) }

    /// Pages found dirty by a walk of `seconds` when it comes to them.
    func found(_ curve: DirtyCurve, in seconds: Double) -> Double {
      let steps = 6
      var sum = 0.0
      for step in 0..<steps {
        let place = (Double(step) + 0.5) / Double(steps)
        sum += curve.pages(in: oldest + (youngest - oldest + seconds) * place)
      }
      return share * sum / Double(steps)
    }
  }

  private let input: ForecastInput
  private(set) var outcome: ForecastOutcome
  private var test: SwitchoverModel
  private var throttle: ForecastThrottle
  private var populations: [Population] = []
  /// Pages pending after the last sync, in spans that are not hot and in hot ones.
  private var cool = 0.0
  private var hot = 0.0
  /// Share of the working set that is in hot spans.
  private var hotShare = 0.0
  /// Whether the last iteration held hot spans back, and how many pages: then they are populations of their own.
  private var isHeldBack = false
  private var heldPages = 0.0
  private var throttledSeconds = 0.0
  private var repeats = 0

  init(_ input: ForecastInput) {
    self.input = input
    outcome = ForecastOutcome(
      converges: false, iterations: [], totalSeconds: input.setupSeconds, downtime: nil, wireBytes: 0,
      meanThrottlePercent: 0)
    test = SwitchoverModel(
      limit: Self.nanoseconds(input.downtimeLimitSeconds), roundTrip: Self.nanoseconds(input.roundTripSeconds))
    throttle = ForecastThrottle(input.throttling)
  }

  private static func nanoseconds(_ seconds: Double) -> UInt64 { UInt64(min(1e18, max(0, seconds * 1e9))) }

  /// Pages as the switchover test counts them.
  private static func whole(_ pages: Double) -> Int { Int(min(1e15, max(0, pages.rounded()))) }

  private var curve: DirtyCurve { input.curve }
  private var spans: DirtyCurve { input.spanCurve ?? input.curve.inWrittenSpans }
  /// Guest seconds in a second.
  private var pace: Double { 1 - throttle.percent / 100 }

  /// Two iterations in a row that left the same, and nothing that would change it.
  var isSteady: Bool { repeats >= 2 && throttle.isFinal }

  /// What there is to say at the end.
  var finished: ForecastOutcome {
    var outcome = outcome
    let running = outcome.iterations.reduce(0) { $0 + $1.seconds }
    outcome.meanThrottlePercent = running > 0 ? throttledSeconds / running * 100 : 0
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
    // A span that was written to before its turn waits until everything else is sent.
    let workingSet = min(data, curve.workingSet)
    var share = workingSet > 0 ? 1.0 : 0
    var first = 0.0
    for _ in 0..<3 where workingSet > 0 {
      first = max(0, seconds - workingSet * share * input.bulkSeconds)
      let (from, to) = (
        input.logLeadSeconds + first * input.writtenFrom, input.logLeadSeconds + first * input.writtenTo
      )
      share = min(1, spans.meanPages(from: from * pace, to: to * pace) / max(spans.workingSet, 1e-9))
    }
    let second = min(seconds, workingSet * share * input.bulkSeconds)
    populations = [
      Population(share: share, youngest: 0, oldest: second * pace),
      Population(
        share: 1 - share, youngest: (second + first * (1 - input.writtenTo)) * pace,
        oldest: (second + first * (1 - input.writtenFrom)) * pace),
    ]
    note(pending: data + zero, sent: data + zero, seconds: seconds, bytes: bytes)
    split()
  }

  /// What was dirtied meanwhile, or of it what is not hot.
  mutating func again(holdBack: Bool) {
    adjustThrottle()
    let walked = holdBack ? coolPopulations : populations
    let rest = holdBack ? hotPopulations : []
    let pending = hot + cool
    // What is dirtied before its turn goes along, which takes longer, so that there is more of it.
    var sent = holdBack ? cool : pending
    var seconds = 0.0
    for _ in 0..<30 {
      seconds = input.fixedSeconds + sent * input.hotSeconds
      let found = walked.reduce(0) { $0 + $1.found(curve, in: seconds * pace) }
      let isSettled = abs(found - sent) <= 1e-4 * max(1, sent)
      sent = found
      if isSettled { break }
    }
    seconds = input.fixedSeconds + sent * input.hotSeconds
    populations = [
      Population(share: walked.reduce(0) { $0 + $1.share }, youngest: 0, oldest: seconds * pace)
    ]
    let aged = (seconds + input.syncSeconds) * pace
    populations += rest.map {
      Population(share: $0.share, youngest: $0.youngest + aged, oldest: $0.oldest + aged)
    }
    if !holdBack {
      // Spans that are written to in every iteration are hot from the second sync on.
      hotShare = min(1, spans.pages(in: seconds * pace) / max(spans.workingSet, 1e-9))
    }
    heldPages = holdBack ? hot : 0
    isHeldBack = holdBack
    note(pending: pending, sent: sent, seconds: seconds, bytes: sent * input.hotBytesPerPage)
    split()
  }

  /// What is walked if hot spans are held back: the populations without what of them is hot.
  private var coolPopulations: [Population] {
    if isHeldBack { return [populations[0]] }
    return populations.map { $0.part(1 - hotShare) }
  }

  private var hotPopulations: [Population] {
    if isHeldBack { return Array(populations.dropFirst()) }
    return populations.map { $0.part(hotShare) }
  }

  /// Divides what is dirty into what is hot and what is not.
  private mutating func split() {
    let dirty = populations.map { $0.dirty(curve) }
    let total = dirty.reduce(0, +)
    cool = isHeldBack ? dirty[0] : total * (1 - hotShare)
    hot = total - cool
  }

  /// With what the last iteration has shown.
  private mutating func adjustThrottle() {
    let last = outcome.iterations[outcome.iterations.count - 1]
    throttle.note(
      dirtied: last.dirtiedPages - min(last.dirtiedPages, heldPages), sent: last.sentPages,
      fullRate: curve.pages(in: last.seconds) / max(last.seconds, 1e-9), carriedRate: 1 / input.hotSeconds)
  }

  private mutating func note(pending: Double, sent: Double, seconds: Double, bytes: Double) {
    let dirtied = populations.reduce(0) { $0 + $1.dirty(curve) }
    test.note(pages: Self.whole(sent), nanoseconds: Self.nanoseconds(seconds))
    let before = outcome.iterations.last
    let isSame = before.map { abs($0.dirtiedPages - dirtied) <= 0.005 * max(1, dirtied) } ?? false
    repeats = isSame && before?.throttlePercent == throttle.percent ? repeats + 1 : 0
    outcome.iterations.append(
      ForecastOutcome.Iteration(
        number: outcome.iterations.count + 1, pendingPages: pending, sentPages: sent, seconds: seconds,
        wireBytes: bytes, dirtiedPages: dirtied, expectedDowntimeSeconds: 0, throttlePercent: throttle.percent,
        holdsBack: isHeldBack))
    outcome.wireBytes += bytes
    outcome.totalSeconds += seconds + input.syncSeconds
    throttledSeconds += seconds * throttle.percent / 100
  }

  // MARK: The end

  mutating func decide() -> SwitchoverModel.Decision {
    let decision = test.decide(
      hot: Self.whole(hot), cool: Self.whole(cool), sync: Self.nanoseconds(input.syncSeconds))
    outcome.iterations[outcome.iterations.count - 1].expectedDowntimeSeconds = Double(test.expected ?? 0) / 1e9
    return decision
  }

  mutating func handOver() {
    let pages = hot + cool
    let transfer = input.fixedSeconds + pages * input.hotSeconds
    let rest = input.handOverSeconds + input.roundTripSeconds
    let downtime = ForecastOutcome.Downtime(
      seconds: input.syncSeconds + transfer + rest, sync: input.syncSeconds, transfer: transfer, handOver: rest,
      pages: pages)
    outcome.converges = true
    outcome.downtime = downtime
    outcome.totalSeconds += downtime.seconds
    outcome.wireBytes += pages * input.hotBytesPerPage
  }
}
