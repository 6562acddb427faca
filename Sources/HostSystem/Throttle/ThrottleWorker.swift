// SPDX-License-Identifier: Apache-2.0
import Glibc
import Synchronization

/// The thread behind a throttle: measures the process, and where it is throttled by signals, stops and continues it.
final class ThrottleWorker: Sendable {
  private let process: ProcessHandle
  /// Whether this thread stops the process; a quota is the kernel's work.
  private let stopsProcess: Bool
  private let throttleCount: @Sendable () -> UInt64

  private let percent = Atomic<Int>(0)
  private let isEnding = Atomic<Bool>(false)
  private let changes = Atomic<UInt32>(0)
  private let spot = ParkingSpot()
  private let meters = Mutex(Meters())
  private let thread = Mutex<HostThread?>(nil)

  private struct Meters {
    var use = CounterMeter()
    var stopped = CounterMeter()
    var quotaHits = CounterMeter()
  }

  /// - Parameter throttleCount: how often the process met its quota, so far.
  init(_ process: ProcessHandle, stopsProcess: Bool, throttleCount: @escaping @Sendable () -> UInt64) {
    self.process = process
    self.stopsProcess = stopsProcess
    self.throttleCount = throttleCount
  }

  func start() {
    thread.withLock { $0 = HostThread(name: "pf-throttle") { [self] in work() } }
  }

  /// Ends the thread. The process, if it was stopped by it, runs when this returns.
  func stop() {
    isEnding.store(true, ordering: .relaxed)
    change()
    let running = thread.withLock { thread -> HostThread? in
      defer { thread = nil }
      return thread
    }
    running?.join()
  }

  /// From now on; what was measured before is forgotten.
  func set(percent new: Int) {
    percent.store(new, ordering: .relaxed)
    meters.withLock { $0 = Meters() }
    change()
  }

  /// CPUs that the process uses, over the last second; nil until there is a measurement.
  var use: Double? { meters.withLock { $0.use.recent } }

  /// The most that it used in any fifth of a second lately. Waits for a first measurement, at most half a second.
  var highestUse: Double? {
    _ = spot.wait(nanoseconds: 500_000_000) { [self] in meters.withLock { $0.use.highest != nil } || process.hasEnded }
    return meters.withLock { $0.use.highest }
  }

  /// Of the time in which it was stopped by this thread, over the last second, 0 to 1.
  var stoppedShare: Double? { meters.withLock { $0.stopped.recent } }

  /// Whether it has met its quota in the last second.
  var meetsQuota: Bool { meters.withLock { ($0.quotaHits.recent ?? 0) > 0 } }

  private func change() {
    changes.add(1, ordering: .sequentiallyConsistent)
    spot.wake()
  }

  private func work() {
    var cycle = DutyCycle(percent: 1)
    var stopped: UInt64 = 0
    while !process.hasEnded {
      let seen = changes.load(ordering: .sequentiallyConsistent)
      if isEnding.load(ordering: .relaxed) { return }
      measure(stopped)
      let percent = percent.load(ordering: .relaxed)
      if stopsProcess, percent > 0 {
        if cycle.percent != percent { cycle.percent = percent }
        guard turn(&cycle, &stopped, until: seen) else { return }
      } else {
        rest(Int64(CounterMeter.interval), until: seen)
      }
    }
    spot.wake()
  }

  /// Stops the process, and lets it run.
  /// - Returns: false if it has ended, or may not be signalled any more.
  private func turn(_ cycle: inout DutyCycle, _ stopped: inout UInt64, until seen: UInt32) -> Bool {
    let due = cycle.nextStop
    let start = HostClock.now()
    var again = start
    // Whoever else has stopped it wants it to stay so: then there is nothing to do.
    if due > 0, !process.isStopped {
      do throws(ThrottleError) {
        try process.signal(SIGSTOP)
        rest(due, until: seen)
        try process.signal(SIGCONT)
      } catch { return false }
      again = HostClock.now()
      stopped += again - start
    }
    rest(cycle.runTime, until: seen)
    cycle.account(stopped: Int64(again - start), ran: Int64(HostClock.now() - again))
    return true
  }

  /// Sleeps, but not past a change.
  private func rest(_ nanoseconds: Int64, until seen: UInt32) {
    _ = spot.wait(nanoseconds: nanoseconds) { changes.load(ordering: .sequentiallyConsistent) != seen }
  }

  private func measure(_ stopped: UInt64) {
    guard let used = process.cpuNanoseconds else { return }
    let (now, hits) = (HostClock.now(), throttleCount())
    let isFirst = meters.withLock { meters in
      let before = meters.use.highest == nil
      meters.use.note(used, at: now)
      meters.stopped.note(stopped, at: now)
      meters.quotaHits.note(hits, at: now)
      return before && meters.use.highest != nil
    }
    if isFirst { spot.wake() }
  }
}
