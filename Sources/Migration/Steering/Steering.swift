// SPDX-License-Identifier: Apache-2.0
import Convergence
import GuestMemory
import HostSystem
import Lanes
import Logging
import PageModel
import Transport
import Wire

/// Watches a migration and steers it: measures, throttles the guest, takes settings and orders, keeps the deadline.
///
/// Belongs to the session's thread, which calls ``tick(_:)`` whenever it waits. Everything that it does to the guest ends
/// with ``release()``.
final class Steering {
  /// How often it looks.
  static let interval: UInt64 = 50_000_000

  private let guest: any Guest
  private let controls: Controls
  private let record: SourceRecord
  private let clock: PhaseClock
  private let pacer: Pacer
  private let startedAt = HostClock.now()
  private var generation: UInt64 = 0
  private(set) var settings: MigrationSettings
  private var pipeline: SendingPipeline?
  private var meter: DirtyMeter?
  private var wire = WireMeter()
  private var dirtyLookAt: UInt64 = 0
  private var convergeLookAt: UInt64 = 0
  private var autoConverge = AutoConverge()
  private let dirtyLimit = DirtyLimit()
  private var ramp = DowntimeRamp()
  /// Share of its time that the guest may not run now.
  private var throttle = 0.0
  /// Of the latest look of `auto-converge`: pages that were dealt with.
  private var doneAtLook: UInt64 = 0
  /// Whether the bulk stage is over.
  private var isAgain = false
  /// Bytes per second at which pages are dealt with that are sent again, and bytes of memory per byte on the wire.
  private var transferRate: Double?
  private var hotRatio = 1.0
  private var syncDirtyRate: Double?
  private var fixedDowntime = 0.0
  /// Whether the guest is to be handed over whatever is left.
  private(set) var mustSwitchOver = false
  private var isPausedByOrder = false
  private var narrator: Narrator

  init(
    guest: any Guest, controls: Controls, record: SourceRecord, clock: PhaseClock, pacer: Pacer, logger: Logger
  ) {
    narrator = Narrator(logger)
    self.guest = guest
    self.controls = controls
    self.record = record
    self.clock = clock
    self.pacer = pacer
    settings = controls.settings
  }

  /// Pages begin to flow.
  func begin(_ pipeline: SendingPipeline, meter: DirtyMeter?) {
    self.pipeline = pipeline
    self.meter = meter
    let now = HostClock.now()
    dirtyLookAt = now
    convergeLookAt = now
  }

  // MARK: What it is told

  /// The destination has acknowledged bytes.
  func note(_ ack: ControlMessage.Ack) {
    guard let pipeline else { return }
    // No more can have arrived than was sent, whatever a peer says.
    let received = min(ack.receivedByteCount, pipeline.sentByteCount)
    wire.note(.init(at: HostClock.now(), bytes: received, busy: pipeline.linkBusyNanoseconds))
  }

  /// An iteration is over.
  /// - Parameter isLast: the guest was paused.
  func note(_ iteration: IterationReport, isLast: Bool) {
    // A still image has one iteration, and a report that says all of it.
    guard guest.dirtyLog != nil else { return }
    narrator.tell(iteration, isLast: isLast)
    guard !isLast else { return }
    let cache = pipeline?.statistics.cacheByteCount ?? 0
    narrator.tellCache(iteration, hotBytes: reading.workingSet, cacheBytes: cache)
    let sent = iteration.donePages - iteration.zeroPages
    // Pages that are sent again are hardly ever zero; the bulk stage says something about the others.
    guard sent >= 1024, iteration.seconds > 0 else { return }
    let bytes = Double(sent) * Double(PageGeometry.pageByteCount)
    hotRatio = iteration.wireBytes > 0 ? bytes / Double(iteration.wireBytes) : hotRatio
    if iteration.iteration > 1 { transferRate = bytes / iteration.seconds }
  }

  /// A sync has found pages.
  /// - Parameters:
  ///   - expected: the downtime if the guest were paused now, in seconds; `fixed` of them without any page.
  func noteSync(pagesPerSecond: Double, expected: Double, fixed: Double) {
    syncDirtyRate = pagesPerSecond * Double(PageGeometry.pageByteCount)
    fixedDowntime = fixed
    isAgain = true
    ramp.note(expected: expected)
  }

  // MARK: What it says

  /// The downtime that is allowed now, in nanoseconds.
  var allowedDowntime: UInt64 {
    let limit = Double(settings.downtimeLimit.nanoseconds) / 1e9
    return UInt64(min(1e18, max(0, ramp.allowed(limit: limit, policy: settings.policy) * 1e9)))
  }

  /// Bytes per second that the link is taken to carry, for decisions.
  var linkRate: Double? {
    settings.switchoverBandwidth > 0 ? Double(settings.switchoverBandwidth) : wire.rate
  }

  var throttlePercent: Int { Int((throttle * 100).rounded()) }

  /// Whether the guest stays here although it could be handed over.
  var holds: Bool { settings.holds && !mustSwitchOver }

  /// What is measured now.
  var reading: ConvergenceReading {
    let pageBytes = Double(PageGeometry.pageByteCount)
    let found = meter.map { $0.sample.foundPages > 0 } ?? false
    return ConvergenceReading(
      dirtyRate: found
        ? meter?.unthrottledPagesPerSecond.map { $0 * pageBytes * (1 - throttle) } : syncDirtyRate,
      wireRate: wire.rate, hotRatio: hotRatio, transferRate: transferRate,
      workingSet: max(
        (meter?.workingSetPages ?? 0) * pageBytes, found ? 0 : Double(record.now.pendingPages) * pageBytes),
      throttle: throttle, pending: Double(record.remainingPages) * pageBytes, fixedDowntime: fixedDowntime,
      downtimeLimit: Double(settings.downtimeLimit.nanoseconds) / 1e9)
  }

  // MARK: Looking

  /// Looks at what has changed, and does what is due.
  /// - Returns: when to look again, on the monotonic clock.
  func tick(_ now: UInt64) throws(MigrationFailure) -> UInt64 {
    if let changed = controls.settings(after: &generation) { apply(changed) }
    for order in controls.takeOrders() { try carryOut(order) }
    guard clock.phase == .active, guest.dirtyLog != nil else { return now + Self.interval }
    try keepDeadline()
    if pipeline != nil, !record.isPaused {
      if now >= dirtyLookAt { try lookAtGuest(now) }
      if now >= convergeLookAt { lookAtConvergence(now) }
    }
    let reading = reading
    let verdict = Verdict(reading, policy: settings.throttle == nil ? settings.policy : [])
    record.note(reading, verdict)
    narrator.tell(verdict, reading, isAgain: isAgain)
    return now + Self.interval
  }

  private func lookAtGuest(_ now: UInt64) throws(MigrationFailure) {
    dirtyLookAt = now + UInt64(DirtyLimit.period * 1e9)
    do throws(GuestMemoryError) { try meter?.look(now: now, throttle: throttle) } catch {
      throw MigrationFailure(input: error)
    }
    guard settings.throttle == nil, settings.policy.contains(.dirtyLimit), isAgain else { return }
    if let next = dirtyLimit.look(reading, settings.dirtyLimit) { setThrottle(next) }
  }

  private func lookAtConvergence(_ now: UInt64) {
    let done = pipeline?.statistics.donePages ?? 0
    defer { doneAtLook = done }
    let seconds = AutoConverge.period + Double(now - convergeLookAt) / 1e9
    convergeLookAt = now + UInt64(AutoConverge.period * 1e9)
    guard settings.throttle == nil, settings.policy.contains(.autoConverge),
      !settings.policy.contains(.dirtyLimit), isAgain, let dirty = reading.dirtyRate
    else { return }
    let sent = Double(done - min(done, doneAtLook)) * Double(PageGeometry.pageByteCount)
    let next = autoConverge.look(
      dirtied: dirty * seconds, sent: sent, throttle: throttlePercent, settings.autoConverge)
    setThrottle(Double(next) / 100)
  }

  private func setThrottle(_ share: Double) {
    let percent = Int((share * 100).rounded())
    let before = throttlePercent
    throttle = share
    guard percent != before else { return }
    guest.throttle(percent: percent)
    record.note(throttlePercent: percent)
  }

  // MARK: Doing

  /// Holds the channels to the limit that there is now.
  func pace() { pacer.set(bytesPerSecond: settings.bandwidthLimit(isPaused: record.isPaused)) }

  private func apply(_ changed: MigrationSettings) {
    let before = settings
    settings = changed
    pace()
    if changed.bandwidthLimit != before.bandwidthLimit { wire.restart() }
    if changed.policy != before.policy { ramp.restart() }
    if let percent = changed.throttle {
      setThrottle(Double(min(99, max(0, percent))) / 100)
    } else if before.throttle != nil || !changed.policy.throttles, throttle > 0 {
      setThrottle(0)
    }
  }

  private func carryOut(_ order: MigrationOrder) throws(MigrationFailure) {
    switch order {
    case .hold: controls.change { $0.holds = true }
    case .release: controls.change { $0.holds = false }
    case .pause: try pauseGuest("by order")
    case .complete:
      mustSwitchOver = true
      try pauseGuest("to be handed over at once, by order")
    case .resume:
      guard isPausedByOrder, clock.phase == .active else { return }
      do throws(GuestError) { try guest.resume() } catch {
        throw MigrationFailure(.guestFailed, "the guest could not be let run on: \(error)")
      }
      isPausedByOrder = false
      mustSwitchOver = false
      record.noteRunsAgain()
      narrator.say("the guest runs on, by order")
      pace()
    }
    if let changed = controls.settings(after: &generation) { apply(changed) }
  }

  /// The guest stands still from now on, and its memory goes on being sent.
  /// - Parameter reason: why, for the log.
  private func pauseGuest(_ reason: String) throws(MigrationFailure) {
    guard guest.dirtyLog != nil, clock.phase == .active, !record.isPaused else { return }
    let now = HostClock.now()
    do throws(GuestError) { try guest.pause() } catch {
      throw MigrationFailure(.guestFailed, "the guest could not be paused: \(error)")
    }
    isPausedByOrder = true
    record.notePaused(at: now)
    narrator.say(
      "the guest is paused (\(reason)); \(record.remainingPages) pages are left to send")
    pace()
  }

  private func keepDeadline() throws(MigrationFailure) {
    guard let deadline = settings.deadline, !mustSwitchOver else { return }
    guard Double(HostClock.now() - startedAt) / 1e9 >= deadline else { return }
    switch settings.deadlineAction {
    case .pause:
      mustSwitchOver = true
      try pauseGuest("deadline of \(Decimal.fixed(deadline, digits: deadline < 10 ? 1 : 0)) s")
    case .cancel:
      throw MigrationFailure(
        .deadlinePassed,
        "not handed over after \(Decimal.fixed(deadline, digits: deadline < 10 ? 1 : 0)) s (deadline); "
          + record.now.verdictSentence)
    }
  }

  /// The guest is not throttled any more. May be called again.
  func release() {
    guard throttle > 0 else { return }
    setThrottle(0)
  }
}
