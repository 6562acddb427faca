// SPDX-License-Identifier: Apache-2.0
import Convergence
import HostSystem
import Lanes
import Migration
import PageCodecs
import Synchronization
import Testing
import Workload

/// A guest that writes whole pages faster than its link carries them, with no codec or delta that would help.
@Suite("A running migration is steered", .serialized, .enabled(if: tracking.isPossible, tracking.comment))
struct SteeringTests {
  /// 24 MiB of which 16 are written at 200 MB/s, on a link of 20 MB/s: so slow that a guest that gets little of a busy
  /// machine still writes more.
  private static func busy() -> LiveMigration.Setup {
    var setup = LiveMigration.Setup()
    setup.plan = WorkloadPlan(
      pattern: .pages, megabytesPerSecond: 200, workingSetByteCount: 16 << 20,
      mix: ContentMix(zero: 0, text: 0, random: 100), compressibility: 0)
    setup.codec = "none"
    setup.cache = .off
    setup.bandwidth = 20_000_000
    setup.downtimeLimit = .milliseconds(100)
    setup.verify = false
    return setup
  }

  private typealias Running = RunningMigration

  @Test("Without a policy it says within three iterations that it cannot converge, and what would do; by order it ends")
  func verdict() throws {
    let running = try Running(Self.busy())
    try running.wait("the verdict") { now in
      (now.iteration?.iteration ?? 0) <= 3 && now.convergence?.verdict == "cannot-converge"
        && now.convergence?.advice.hasPrefix("cannot converge: dirty ") == true
    }
    try running.waitForIteration(3)
    let told = try #require(running.session.statistics.convergence)
    let (dirty, transfer) = (try #require(told.dirtyRate), try #require(told.transferRate))
    #expect(dirty > 1.2 * transfer && dirty < 260e6, "\(told.advice)")
    #expect((14e6...24e6).contains(transfer), "\(told.advice)")
    let needed = (1 - transfer / dirty) * 100
    #expect((needed - 15...needed + 1).contains(told.neededThrottle ?? 0), "\(told.advice)")
    try running.session.order(.complete)
    let report = try running.end()
    #expect(report.outcome == .completed, "\(report.failure?.reason ?? "")")
    #expect(report.live?.downtime.map { $0.milliseconds > 100 } == true)
    try running.migration.expectRunsAtDestination()
  }

  @Test(
    "With a policy it converges, and the guest is not throttled afterwards",
    arguments: ["dirty-limit", "auto-converge"])
  func policies(policy: String) throws {
    var setup = Self.busy()
    setup.steer = { settings in
      settings.policy = ConvergencePolicy(policy) ?? []
      settings.autoConverge.initial = 80
    }
    let running = try Running(setup)
    let report = try running.end()
    try #require(report.outcome == .completed, "\(report.failure?.reason ?? "")")
    let live = try #require(report.live)
    #expect(live.highestThrottle > 0 && live.meanThrottle > 0 && live.meanThrottle < 99)
    // The limit, and what a busy machine adds to it.
    #expect(try #require(live.downtime).milliseconds < 1000)
    #expect(running.migration.guest.throttlePercent == 0)
    try running.migration.expectRunsAtDestination()
  }

  @Test("At the deadline the guest stands still and the rest is sent")
  func deadlinePause() throws {
    var setup = Self.busy()
    setup.steer = { $0.deadline = 1 }
    let report = try Running(setup).end()
    #expect(report.outcome == .completed, "\(report.failure?.reason ?? "")")
    #expect((0.9...8).contains(report.seconds.total), "\(report.seconds.total)")
  }

  @Test("At the deadline it is given up, and the guest runs on unthrottled")
  func deadlineCancel() throws {
    var setup = Self.busy()
    setup.steer = { settings in
      settings.deadline = 1
      settings.deadlineAction = .cancel
      settings.throttle = 20
    }
    let running = try Running(setup)
    try running.wait("the throttle") { $0.throttlePercentage == 20 }
    let report = try running.end()
    #expect(report.failure?.code == FailureCode.deadlinePassed.rawValue)
    #expect(report.failure?.reason.contains("cannot converge") == true, "\(report.failure?.reason ?? "")")
    #expect(running.migration.guest.throttlePercent == 0)
    try running.migration.expectRunsAtSource()
  }

  @Test("A guest that is held stays here until it is released")
  func hold() throws {
    var setup = Self.busy()
    setup.plan.megabytesPerSecond = 4
    setup.steer = { $0.holds = true }
    let running = try Running(setup)
    try running.waitForIteration(6)
    #expect(running.session.statistics.status == .active)
    #expect(running.session.statistics.convergence?.holds == true)
    try running.session.order(.release)
    #expect(try running.end().outcome == .completed)
    try running.migration.expectRunsAtDestination()
  }

  @Test("A guest is paused and let run on by order; the second time its memory catches up")
  func pause() throws {
    let running = try Running(Self.busy())
    try running.waitForIteration(2)
    try running.session.order(.pause)
    try running.wait("the pause") { $0.convergence?.isPaused == true }
    let guest = running.migration.guest
    HostClock.sleep(nanoseconds: 20_000_000)
    let before = guest.statistics.writes
    HostClock.sleep(nanoseconds: 40_000_000)
    #expect(guest.statistics.writes == before)
    #expect(throws: SettingError.self) { try running.session.order(.pause) }
    try running.session.order(.resume)
    try running.wait("the guest to run on") { $0.convergence?.isPaused == false }
    HostClock.sleep(nanoseconds: 60_000_000)
    #expect(guest.statistics.writes > before)
    try running.session.order(.pause)
    let report = try running.end()
    #expect(report.outcome == .completed, "\(report.failure?.reason ?? "")")
    try running.migration.expectRunsAtDestination()
  }

  @Test("Settings take effect while it runs: bandwidth, workers, throttle, the downtime")
  func settings() throws {
    let running = try Running(Self.busy())
    try running.waitForIteration(2)
    try running.session.change { settings in
      settings.throttle = 80
      settings.workers = 1
    }
    HostClock.sleep(nanoseconds: 100_000_000)
    #expect(running.migration.guest.throttlePercent == 80)
    func sent(in nanoseconds: UInt64) -> Double {
      let before = running.session.statistics.ram.transferred
      let began = HostClock.now()
      HostClock.sleep(nanoseconds: nanoseconds)
      return Double(running.session.statistics.ram.transferred - before) * 1e9 / Double(HostClock.now() - began)
    }
    try running.session.change { $0.bandwidthLimit = 5_000_000 }
    HostClock.sleep(nanoseconds: 50_000_000)
    let slow = sent(in: 300_000_000)
    #expect((3e6...7e6).contains(slow), "\(slow)")
    try running.session.change { settings in
      settings.bandwidthLimit = 0
      settings.downtimeLimit = .seconds(1)
    }
    let report = try running.end()
    #expect(report.outcome == .completed, "\(report.failure?.reason ?? "")")
    #expect(running.migration.guest.throttlePercent == 0)
    try running.migration.expectRunsAtDestination()
  }

  @Test("The codec is changed while it runs, and back; every frame is decoded as it was encoded")
  func codec() throws {
    var setup = Self.busy()
    setup.plan.compressibility = 60
    setup.plan.mix = .standard
    setup.codec = "auto"
    setup.verify = true
    let running = try Running(setup)
    for (index, name) in ["none", "zstd:3", "lz4", "zstd-long", "deflate:1", "auto"].enumerated() {
      try running.waitForIteration(index + 1)
      let policy = try CodecPolicy(parsing: name)
      try running.session.change { $0.codec = policy }
      guard name != "auto" else { break }
      try running.wait("the lanes to follow to \(name)") { now in
        now.codecs.contains { $0.codec == policy.description && $0.lanes == 2 && $0.frames + $0.bypassedPages > 0 }
      }
    }
    try running.session.order(.complete)
    let report = try running.end()
    try #require(report.outcome == .completed, "\(report.failure?.reason ?? "")")
    #expect(report.codec.changes >= 6)
    let used = Set(report.codec.uses.map { $0.codec })
    #expect(used.isSuperset(of: ["none", "zstd:3", "lz4:1", "deflate:1"]), "\(used)")
    try running.migration.expectRunsAtDestination()
  }

  @Test("What cannot be had is refused, and changes nothing")
  func refused() throws {
    let running = try Running(Self.busy())
    try running.waitForIteration(1)
    let before = running.session.settings
    for change: (inout MigrationSettings) -> Void in [
      { $0.workers = 3 }, { $0.workers = 0 }, { $0.throttle = 100 }, { $0.throttle = -1 },
      // Both sides keep no history: it was not asked for at the start.
      { $0.codec = .automatic },
    ] {
      #expect(throws: SettingError.self) {
        try running.session.change { settings in
          settings.bandwidthLimit = 1
          change(&settings)
        }
      }
    }
    #expect(running.session.settings == before)
    #expect(throws: SettingError.self) { try running.session.order(.resume) }
    running.session.cancel("enough")
    let report = try running.end()
    #expect(report.outcome == .cancelled)
    #expect(throws: SettingError.self) { try running.session.order(.complete) }
    try running.migration.expectRunsAtSource()
  }
}
