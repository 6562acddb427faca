// SPDX-License-Identifier: Apache-2.0
import Control
import HostSystem
import Migration
import Testing
import Workload

/// Cancelled through the socket in any phase, a migration ends within a second, and the guest runs on.
@Suite("Cancel by the control socket", .serialized, .enabled(if: tracking.isPossible, tracking.comment))
struct CancelByControlTests {
  @Test("In every phase before the commit", arguments: [Phase.setup, .reservation, .active, .switchover])
  func cancel(phase: Phase) throws {
    var setup = ControlledMigration.Setup()
    switch phase {
    case .setup: setup.hasDestination = false
    case .reservation: setup.reservation = 1_500_000_000
    case .switchover:
      // Everything fits into the downtime, but takes its time.
      setup.downtimeLimit = .seconds(60)
      setup.plan.megabytesPerSecond = 400
    default: setup.bandwidth = 4 << 20
    }
    let migration = try ControlledMigration(setup)
    let client = try migration.client()
    if phase == .switchover {
      try migration.waitUntilSynced()
      try client.set(["bandwidth": .string("5MiB"), "hold": .bool(false)])
    }
    try migration.wait(for: phase)
    HostClock.sleep(nanoseconds: 50_000_000)
    #expect(migration.session.statistics.status == phase)
    let asked = HostClock.now()
    _ = try client.ask(.cancel, ["reason": .string("not today")], as: [String: JSONValue].self)
    try migration.wait(within: 1, "the end") { migration.session.statistics.status == .cancelled }
    let report = try migration.finish()
    if phase != .reservation { #expect(HostClock.now() - asked < 1_300_000_000) }
    #expect(report.outcome == .cancelled)
    #expect(report.failure?.reason == "not today")
    #expect(report.live?.guestIs == .atSource)
    try migration.expectRunsAtSource()
  }

  @Test("Watchers hear of the end, and then the socket is gone")
  func end() throws {
    let migration = try ControlledMigration()
    let (watcher, client) = (try migration.client(), try migration.client())
    _ = try watcher.ask(.watch, ["interval": .number(0.05)], as: [String: JSONValue].self)
    guard case .status(let first) = try watcher.nextEvent() else {
      Issue.record("an event before the status")
      return
    }
    #expect(!first.settings.isEmpty)
    try client.order(.cancel)
    var statuses = 0
    while case .status = try watcher.nextEvent() { statuses += 1 }
    let report = try migration.finish()
    #expect(report.outcome == .cancelled)
    #expect(throws: ControlClientError.self) { try watcher.nextEvent() }
    #expect(throws: ControlClientError.self) { try migration.client() }
    try migration.expectRunsAtSource()
  }
}
