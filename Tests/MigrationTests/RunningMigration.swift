// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Logging
import Migration
import Synchronization
import Testing
import Transport

/// A migration that runs on a thread of its own, to be steered from here.
final class RunningMigration: Sendable {
  let migration: LiveMigration
  let session: SourceSession
  private let report = Mutex<MigrationReport?>(nil)
  private let thread = Mutex<HostThread?>(nil)

  /// - Parameter relay: made of the destination's address, what stands between.
  init(
    _ setup: LiveMigration.Setup, logger: Logger? = nil, through relay: (Endpoint) throws -> Endpoint = { $0 }
  ) throws {
    migration = try LiveMigration(setup)
    migration.start()
    session = try migration.source(to: try relay(migration.listener.endpoint), logger: logger)
    thread.withLock {
      $0 = HostThread(name: "source") { [self] in
        let report = session.run()
        self.report.withLock { $0 = report }
      }
    }
  }

  func end() throws -> MigrationReport {
    thread.withLock { thread -> HostThread? in
      defer { thread = nil }
      return thread
    }?.join()
    return try #require(report.withLock { $0 })
  }

  /// Waits until the statistics are as they should be.
  func wait(seconds: Double = 15, _ comment: Comment, until condition: (MigrationStatistics) -> Bool) throws {
    let end = HostClock.now() + UInt64(seconds * 1e9)
    while !condition(session.statistics) {
      try #require(HostClock.now() < end && report.withLock { $0 == nil }, comment)
      HostClock.sleep(nanoseconds: 5_000_000)
    }
  }

  func waitForIteration(_ number: Int) throws {
    try wait("iteration \(number)") { ($0.iteration?.iteration ?? 0) >= number }
  }
}
