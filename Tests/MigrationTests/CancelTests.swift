// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Migration
import Synchronization
import TestSupport
import Testing
import Transport

/// Cancelling, from either side and in any phase before the commit, ends both within a second.
@Suite struct CancelTests {
  private static let second: UInt64 = 1_000_000_000
  static let bytes = SamplePages.image(Array(repeating: .random, count: 1024), seed: 41)

  @Test("Cancel while pages flow: both sides end as cancelled, nothing is left", arguments: [true, false])
  func whileActive(fromSource: Bool) throws {
    let harness = try Harness()
    harness.start()
    let session = try harness.source(try harness.image(Self.bytes), bandwidth: 1 << 20)
    final class Moment: Sendable { let at = Mutex<UInt64>(0) }
    let moment = Moment()
    let canceller = HostThread(name: "canceller") {
      while session.progress.phase != .active { HostClock.sleep(nanoseconds: 5_000_000) }
      HostClock.sleep(nanoseconds: 100_000_000)
      moment.at.withLock { $0 = HostClock.now() }
      if fromSource { session.cancel("enough") } else { harness.destination.cancel("enough") }
    }
    let source = session.run()
    let destination = try harness.finish()
    let taken = HostClock.now() - moment.at.withLock { $0 }
    canceller.join()
    #expect(taken < Self.second)
    #expect(source.outcome == .cancelled)
    #expect(destination.outcome == .cancelled)
    let (own, other) = fromSource ? (source, destination) : (destination, source)
    #expect(own.failure?.code == FailureCode.cancelled.rawValue)
    #expect(other.failure?.code == FailureCode.cancelledByPeer.rawValue)
    #expect(other.failure?.reason.contains("enough") == true)
    harness.expectNothingLeft()
  }

  @Test("Cancel while looking for a receiver")
  func whileConnecting() throws {
    let harness = try Harness()
    let session = try harness.source(
      try harness.image(Self.bytes), to: .unix(path: harness.folder.file("nobody")))
    let canceller = HostThread(name: "canceller") {
      HostClock.sleep(nanoseconds: 150_000_000)
      session.cancel("never mind")
    }
    let started = HostClock.now()
    let report = session.run()
    canceller.join()
    #expect(HostClock.now() - started < Self.second)
    #expect(report.outcome == .cancelled)
    #expect(report.failure?.reason == "never mind")
  }

  @Test("Cancel while waiting for a source")
  func whileWaiting() throws {
    let harness = try Harness(waitLimit: nil)
    harness.start()
    HostClock.sleep(nanoseconds: 50_000_000)
    let started = HostClock.now()
    harness.destination.cancel("going home")
    let report = try harness.finish()
    #expect(HostClock.now() - started < Self.second)
    #expect(report.outcome == .cancelled)
    harness.expectNothingLeft()
  }
}
