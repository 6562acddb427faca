// SPDX-License-Identifier: Apache-2.0
import Control
import GuestMemory
import HostSystem
import Migration
import Testing
import Workload

/// Of a real migration, through a real socket: what is set holds, at once.
@Suite("Steering a migration", .serialized, .enabled(if: tracking.isPossible, tracking.comment))
struct SteeringTests {
  /// What every knob has to show within, in nanoseconds.
  private static let soon: UInt64 = 200_000_000

  @Test("Every knob, set in mid-flight, is in the status within 200 ms")
  func allKnobs() throws {
    let values: [String: JSONValue] = [
      "bandwidth": .integer(5_000_000), "switchover-bandwidth": .integer(7_000_000), "downtime-limit": .integer(42),
      "codec": .string("lz4:1"), "workers": .integer(1), "channels": .integer(1), "delta-cache": .integer(1 << 20),
      "policy": .string("auto-converge,downtime-ramp"), "throttle": .integer(33), "throttle-initial": .integer(15),
      "throttle-increment": .integer(5), "throttle-max": .integer(80), "throttle-trigger": .integer(60),
      "throttle-tailslow": .bool(true), "dirty-limit": .integer(70), "deadline": .integer(3600),
      "deadline-action": .string("cancel"), "hold": .bool(false),
    ]
    #expect(Set(values.keys) == Set(Knob.all.map { $0.name }), "a value for each")
    var setup = ControlledMigration.Setup()
    setup.bandwidth = 4 << 20
    let migration = try ControlledMigration(setup)
    let client = try migration.client()
    try migration.wait(for: .active)
    for (name, value) in values {
      let before = try client.status().settings[name]
      #expect(before != nil && before != value, "\(name)")
      let asked = HostClock.now()
      try client.set([name: value])
      #expect(try client.status().settings[name] == value, "\(name)")
      #expect(HostClock.now() - asked < Self.soon, "\(name)")
    }
    let now = try client.status()
    #expect(now.settings == values && now.statistics.channels == 1)
    #expect(now.statistics == now.statistics && now.statistics.status == .active)
    try migration.abandon()
  }

  @Test("A bandwidth limit holds within 200 ms, up and down")
  func bandwidth() throws {
    var setup = ControlledMigration.Setup()
    setup.bandwidth = 4 << 20
    setup.plan.megabytesPerSecond = 200
    let migration = try ControlledMigration(setup)
    let client = try migration.client()
    try migration.wait(for: .active)
    for megabytes in [4.0, 16.0, 8.0] {
      try client.set(["bandwidth": .number(megabytes * 1e6)])
      HostClock.sleep(nanoseconds: Self.soon)
      let (first, began) = (try client.status().statistics.ram.transferred, HostClock.now())
      HostClock.sleep(nanoseconds: 400_000_000)
      let (last, ended) = (try client.status().statistics.ram.transferred, HostClock.now())
      let rate = Double(last - first) * 1e9 / Double(ended - began) / 1e6
      #expect(abs(rate / megabytes - 1) < 0.15, "\(rate) MB/s of \(megabytes)")
    }
    try migration.abandon()
  }

  @Test("A throttle slows the guest down within 200 ms, and lets it go again")
  func throttle() throws {
    var setup = ControlledMigration.Setup()
    setup.plan.megabytesPerSecond = 0
    setup.plan.pattern = .sparse
    setup.bandwidth = 4 << 20
    let migration = try ControlledMigration(setup)
    let client = try migration.client()
    try migration.wait(for: .active)
    func writes() -> Double {
      let (first, began) = (migration.guest.statistics.writes, HostClock.now())
      HostClock.sleep(nanoseconds: 300_000_000)
      return Double(migration.guest.statistics.writes - first) * 1e9 / Double(HostClock.now() - began)
    }
    let free = writes()
    try client.set(["throttle": .integer(90)])
    HostClock.sleep(nanoseconds: Self.soon)
    let throttled = writes()
    #expect(throttled < free * 0.4, "\(free) → \(throttled) pages/s")
    #expect(try client.status().statistics.throttlePercentage == 90)
    try client.set(["throttle": .string("policy")])
    HostClock.sleep(nanoseconds: Self.soon)
    #expect(writes() > throttled * 1.5)
    #expect(try client.status().statistics.throttlePercentage == nil)
    try migration.abandon()
  }

  @Test("A longer downtime hands a guest over that would not converge; switchover bandwidth is its own")
  func downtimeLimit() throws {
    var setup = ControlledMigration.Setup()
    setup.holds = false
    setup.downtimeLimit = .milliseconds(1)
    setup.plan.megabytesPerSecond = 100
    setup.plan.workingSetByteCount = 2 << 20
    setup.bandwidth = 16 << 20
    let migration = try ControlledMigration(setup)
    let client = try migration.client()
    try migration.waitUntilSynced()
    HostClock.sleep(nanoseconds: 300_000_000)
    #expect(try client.status().statistics.status == .active)
    try client.set(["downtime-limit": .integer(5000), "switchover-bandwidth": .string("1GiB")])
    let report = try migration.finish()
    #expect(report.outcome == .completed, "\(report.failure?.reason ?? "")")
    try migration.expectArrived()
  }

  @Test("A guest that is held stays though it could go, and goes when it is released")
  func hold() throws {
    var setup = ControlledMigration.Setup()
    setup.plan.megabytesPerSecond = 2
    setup.holds = false
    setup.bandwidth = 32 << 20
    let migration = try ControlledMigration(setup)
    let client = try migration.client()
    try migration.wait(for: .active)
    try client.order(.hold)
    try migration.waitUntilSynced()
    HostClock.sleep(nanoseconds: 300_000_000)
    let status = try client.status()
    #expect(status.statistics.status == .active && status.statistics.convergence?.holds == true)
    #expect(status.settings["hold"] == .bool(true))
    let released = HostClock.now()
    try client.order(.release)
    #expect(try migration.finish().outcome == .completed)
    #expect(HostClock.now() - released < 1_500_000_000)
    try migration.expectArrived()
  }

  @Test("A guest that is paused stands still, and runs on when it is resumed")
  func pauseAndResume() throws {
    let migration = try ControlledMigration()
    let client = try migration.client()
    try migration.waitUntilSynced()
    #expect(throws: ControlClientError.self) { try client.order(.resume) }
    try client.order(.pause)
    HostClock.sleep(nanoseconds: Self.soon)
    #expect(try client.status().statistics.convergence?.isPaused == true)
    let writes = migration.guest.statistics.writes
    HostClock.sleep(nanoseconds: 50_000_000)
    #expect(migration.guest.statistics.writes == writes)
    try client.order(.resume)
    HostClock.sleep(nanoseconds: Self.soon)
    #expect(try client.status().statistics.convergence?.isPaused == false)
    #expect(migration.guest.statistics.writes > writes)
    try migration.abandon()
  }

  @Test("Complete hands a guest over that would not converge, and that is held")
  func complete() throws {
    var setup = ControlledMigration.Setup()
    setup.downtimeLimit = .milliseconds(1)
    setup.bandwidth = 32 << 20
    setup.plan.megabytesPerSecond = 200
    let migration = try ControlledMigration(setup)
    let client = try migration.client()
    try migration.waitUntilSynced()
    try client.order(.complete)
    #expect(try migration.finish().outcome == .completed)
    try migration.expectArrived()
  }

  @Test("A deadline that has passed is taken at once")
  func deadline() throws {
    let migration = try ControlledMigration()
    let client = try migration.client()
    try migration.waitUntilSynced()
    let asked = HostClock.now()
    try client.set(["deadline": .number(0.1), "deadline-action": .string("cancel")])
    let report = try migration.finish()
    #expect(HostClock.now() - asked < 1_000_000_000)
    #expect(report.failure?.code == FailureCode.deadlinePassed.rawValue)
    try migration.expectRunsAtSource()
  }

  @Test("Several settings are one: if the engine refuses one, none holds")
  func allOrNothing() throws {
    let migration = try ControlledMigration()
    let client = try migration.client()
    try migration.wait(for: .active)
    let before = try client.status().settings
    for wrong: [String: JSONValue] in [
      ["downtime-limit": .integer(77), "workers": .integer(3)], ["bandwidth": .string("1Gbit"), "zebra": .integer(1)],
      ["downtime-limit": .integer(77), "throttle": .integer(100)], ["channels": .integer(4), "hold": .bool(false)],
    ] {
      #expect(throws: ControlClientError.self) { try client.set(wrong) }
      #expect(try client.status().settings == before)
    }
    try migration.abandon()
  }
}
