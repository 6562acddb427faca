// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import HostSystem
import Migration
import PageModel
import Testing
import Transport
import Workload

/// Before the commit the guest runs on at the source, whatever happens; after it, the source never runs it by itself.
@Suite("A guest that runs and is not moved", .serialized, .enabled(if: tracking.isPossible, tracking.comment))
struct LiveFailureTests {
  /// Runs a migration through a relay with a fault.
  private func run(
    _ fault: FaultyRelay.Fault, _ setup: LiveMigration.Setup = .init()
  ) throws -> (LiveMigration, source: MigrationReport, destination: MigrationReport) {
    let migration = try LiveMigration(setup)
    migration.start()
    let relay = try FaultyRelay(to: migration.listener.endpoint, fault: fault)
    defer { relay.stop() }
    let report = try migration.source(to: relay.endpoint).run()
    return (migration, report, try migration.finish())
  }

  @Test(
    "The link is cut at any message before the commit: the guest runs at the source, the destination drops what it has",
    // attach, iterationBegin, iterationEnd, final
    arguments: [4, 7, 8, 10] as [UInt16])
  func cutBeforeCommit(type: UInt16) throws {
    let (migration, source, destination) = try run(.cutAt(type: type))
    #expect(source.outcome == .failed && destination.outcome == .failed)
    #expect(source.live?.guestIs == .atSource)
    #expect(source.live?.downtime == nil)
    try migration.expectRunsAtSource()
  }

  @Test("The destination's answers are lost before the commit", arguments: [2, 5, 6, 9, 11] as [UInt16])
  func answersLost(type: UInt16) throws {
    let (migration, source, destination) = try run(.cutAfterReply(type: type))
    #expect(source.outcome == .failed && destination.outcome == .failed)
    #expect(source.live?.guestIs == .atSource)
    try migration.expectRunsAtSource()
  }

  @Test("A data channel is cut while pages flow")
  func cutDataChannel() throws {
    let (migration, source, destination) = try run(.cut(connection: 1, afterBytes: 500_000))
    #expect(source.failure?.code == FailureCode.peerLost.rawValue)
    #expect(destination.failure?.code == FailureCode.peerLost.rawValue)
    try migration.expectRunsAtSource()
  }

  @Test("A bit that flips in the stream of a running guest is noticed, and the guest runs on")
  func flippedBit() throws {
    let (migration, source, destination) = try run(.flip(connection: 2, at: 400_000))
    #expect(source.failure?.code == FailureCode.protocolViolation.rawValue)
    #expect(destination.failure?.code == FailureCode.protocolViolation.rawValue)
    try migration.expectRunsAtSource()
  }

  @Test("The commit is lost: the source does not run the guest, and says where to look")
  func commitLost() throws {
    let (migration, source, destination) = try run(.cutAt(type: 12))
    #expect(source.failure?.code == FailureCode.outcomeUnknown.rawValue)
    #expect(source.failure?.reason.contains("stays paused here") == true)
    #expect(source.live?.guestIs == .pausedAtSource)
    #expect(destination.failure?.code == FailureCode.peerLost.rawValue)
    let writes = migration.guest.statistics.writes
    HostClock.sleep(nanoseconds: 50_000_000)
    #expect(migration.guest.statistics.writes == writes)
    // Somebody has looked, and found that it is nowhere else.
    try migration.guest.resume()
    try migration.expectRunsAtSource()
  }

  @Test("The answer to the commit is lost: the guest runs at the destination, and only there")
  func resumedLost() throws {
    let (migration, source, destination) = try run(.cutAfterReply(type: 13))
    #expect(source.failure?.code == FailureCode.outcomeUnknown.rawValue)
    #expect(destination.outcome == .completed)
    let writes = migration.guest.statistics.writes
    try migration.expectRunsAtDestination()
    #expect(migration.guest.statistics.writes == writes)
    migration.guest.stop()
  }

  @Test("A destination that falls silent in the switchover: the guest runs on when its time is up")
  func switchoverLimit() throws {
    var setup = LiveMigration.Setup()
    setup.switchoverLimit = .milliseconds(300)
    setup.deadPeerSeconds = 3
    let started = HostClock.now()
    let (migration, source, destination) = try run(.stallAt(type: 10), setup)
    #expect(source.failure?.reason.contains("--switchover-limit") == true)
    #expect(destination.outcome == .failed)
    #expect(HostClock.now() - started < 15_000_000_000)
    try migration.expectRunsAtSource()
  }

  @Test("A guest that cannot be paused, or whose state cannot be saved, runs on")
  func sourceFails() throws {
    for failures in [WorkloadFailures(pause: "a device is busy"), WorkloadFailures(saveState: "a device is busy")] {
      var setup = LiveMigration.Setup()
      setup.sourceFailures = failures
      let (migration, source, destination) = try run(.none, setup)
      #expect(source.failure?.code == FailureCode.guestFailed.rawValue)
      #expect(source.failure?.reason.contains("a device is busy") == true)
      #expect(destination.failure?.code == FailureCode.guestFailed.rawValue)
      #expect(destination.failure?.reason.contains("a device is busy") == true)
      migration.guest.failures = WorkloadFailures()
      try migration.expectRunsAtSource()
    }
  }

  @Test("A guest state that the destination cannot load: both sides say why, and the guest runs on")
  func loadFails() throws {
    var setup = LiveMigration.Setup()
    setup.destinationFailures = WorkloadFailures(loadState: "no such device here")
    let (migration, source, destination) = try run(.none, setup)
    #expect(source.failure?.code == FailureCode.guestRefused.rawValue)
    #expect(source.failure?.reason.contains("no such device here") == true)
    #expect(destination.failure?.code == FailureCode.guestRefused.rawValue)
    #expect(source.live?.guestIs == .atSource)
    try migration.expectRunsAtSource()
  }

  @Test("A guest that the destination cannot resume after the commit stays paused at the source, and it says so")
  func resumeFails() throws {
    var setup = LiveMigration.Setup()
    setup.destinationFailures = WorkloadFailures(resume: "no CPU here")
    let (migration, source, destination) = try run(.none, setup)
    #expect(source.failure?.code == FailureCode.guestRefused.rawValue)
    #expect(source.failure?.reason.contains("no CPU here") == true)
    #expect(source.failure?.reason.contains("stays paused here") == true)
    #expect(source.live?.guestIs == .pausedAtSource)
    #expect(destination.outcome == .failed)
    try migration.guest.resume()
    try migration.expectRunsAtSource()
  }

  @Test("A source that cannot resume its guest after a failure says that as well")
  func resumeHereFails() throws {
    var setup = LiveMigration.Setup()
    setup.destinationFailures = WorkloadFailures(loadState: "no such device here")
    setup.sourceFailures = WorkloadFailures(resume: "the guest is gone")
    let (migration, source, _) = try run(.none, setup)
    #expect(source.failure?.reason.contains("no such device here") == true)
    #expect(source.failure?.reason.contains("the guest is gone") == true)
    #expect(source.live?.guestIs == .pausedAtSource)
    migration.guest.stop()
  }

  @Test("Cancelled from either side while pages flow: the guest runs on", arguments: [true, false])
  func cancelled(atSource: Bool) throws {
    var setup = LiveMigration.Setup()
    setup.bandwidth = 4 << 20
    setup.codec = "none"
    let migration = try LiveMigration(setup)
    migration.start()
    let session = try migration.source()
    let canceller = HostThread(name: "canceller") {
      while session.statistics.status != .active { HostClock.sleep(nanoseconds: 5_000_000) }
      HostClock.sleep(nanoseconds: 100_000_000)
      if atSource { session.cancel("enough") } else { migration.destination.cancel("enough") }
    }
    let source = session.run()
    canceller.join()
    #expect(source.outcome == .cancelled)
    #expect(try migration.finish().outcome == .cancelled)
    try migration.expectRunsAtSource()
  }
}
