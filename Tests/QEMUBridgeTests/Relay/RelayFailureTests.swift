// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Migration
import TestSupport
import Testing

@testable import QEMUBridge

/// Whatever fails: the source's guest runs on, no guest runs at the destination, and both halves say why.
@Suite(
  "A pair of proxies between two QEMUs, when something fails",
  .enabled(if: QEMUProcess.path != nil, "NOT TESTED: qemu-system-x86_64 is not installed"), .serialized,
  .onItsOwnThread)
struct RelayFailureTests {
  /// How the guests' memory is written at the destination, and whether it says that it has arrived.
  private static let cases = [
    QEMUCase(capabilities: ["return-path"], isHeld: false), QEMUCase(direct: false, isHeld: false),
  ]

  /// Migrates slowly, and does something in the middle. The destination would start its guest by itself.
  private static func fail(
    _ how: QEMUCase, expecting status: [String] = ["failed"], isBrittle: Bool = false, silenceSeconds: Int = 15,
    at moment: QEMUEnds.Moment = .middle, sourceSurvives: Bool = true, _ disturb: (QEMUEnds, ProxyPair) throws -> Void
  ) throws -> (source: RelayReport, destination: RelayReport) {
    let pair = try ProxyPair(
      bandwidth: 500_000, direct: how.memory, hasHypervisor: false, isBrittle: isBrittle,
      silenceSeconds: silenceSeconds)
    let ends = try QEMUEnds(pair, how, startsArrived: true)
    defer { ends.end() }
    let reports = try pair.run {
      try ends.start(pair)
      try ends.wait(for: moment, pair)
      try disturb(ends, pair)
      if sourceSurvives {
        let outcome = try ends.source.waitForMigration()
        #expect(status.contains(outcome), "\(outcome)")
      }
    }
    if sourceSurvives { try ends.source.wait(until: "running") }
    #expect(ends.destination.hasNoGuest())
    let source = try #require(reports.source.first)
    let destination = try #require(reports.destination.first)
    #expect(source.phase != .completed && source.failure?.reason.isEmpty == false, "\(source)")
    #expect(destination.phase != .completed && destination.failure?.reason.isEmpty == false, "\(destination)")
    return (source, destination)
  }

  @Test("The source cancels", .timeLimit(.minutes(5)), arguments: cases)
  func cancelled(how: QEMUCase) throws {
    // QEMU closes its return path first, and may take that for the failure.
    let (source, destination) = try Self.fail(how, expecting: ["cancelled", "failed"]) { ends, _ in
      try ends.source.command("migrate_cancel")
    }
    #expect(source.failure?.code == FailureCode.hypervisorFailed.rawValue, "\(source)")
    #expect(destination.failure?.code == FailureCode.hypervisorFailed.rawValue, "\(destination)")
  }

  @Test(
    "While the pair is being set up: each half says why, or that the other one has said it", .timeLimit(.minutes(5)),
    arguments: [0, 5, 20, 60, 120], [0, 1, 2])
  func early(milliseconds: UInt64, ending: Int) throws {
    let (source, destination) = try Self.fail(
      Self.cases[0], expecting: ["cancelled", "failed"],
      at: .early(milliseconds: milliseconds, behindDestination: ending == 2)
    ) { ends, pair in
      switch ending {
      case 0: try ends.source.command("migrate_cancel")
      case 1: pair.departure.cancel("SIGTERM")
      default: pair.destination.cancel("SIGTERM")
      }
    }
    // That a half is gone is no reason.
    for half in [source, destination] {
      #expect(half.failure?.code != FailureCode.peerLost.rawValue, "\(source), \(destination)")
    }
  }

  @Test("The source's QEMU is killed", .timeLimit(.minutes(5)), arguments: cases)
  func sourceKilled(how: QEMUCase) throws {
    let (source, destination) = try Self.fail(how, sourceSurvives: false) { ends, _ in ends.source.end() }
    #expect(source.failure?.code == FailureCode.hypervisorFailed.rawValue, "\(source)")
    #expect(destination.failure?.code == FailureCode.hypervisorFailed.rawValue, "\(destination)")
  }

  @Test("The destination's QEMU is killed", .timeLimit(.minutes(5)), arguments: cases)
  func destinationKilled(how: QEMUCase) throws {
    let (source, destination) = try Self.fail(how) { ends, _ in ends.destination.end() }
    #expect(source.failure?.code == FailureCode.hypervisorFailed.rawValue, "\(source)")
    #expect(destination.failure?.code == FailureCode.hypervisorFailed.rawValue, "\(destination)")
  }

  @Test("A half is stopped by a signal", .timeLimit(.minutes(5)), arguments: [true, false])
  func halfStopped(isSource: Bool) throws {
    let (source, destination) = try Self.fail(Self.cases[0]) { _, pair in
      if isSource { pair.departure.cancel("SIGTERM") } else { pair.destination.cancel("SIGTERM") }
    }
    let (stopped, other) = isSource ? (source, destination) : (destination, source)
    #expect(stopped.failure?.code == FailureCode.cancelled.rawValue, "\(stopped)")
    #expect(other.failure?.code == FailureCode.cancelledByPeer.rawValue, "\(other)")
  }

  @Test("The link between the halves fails", .timeLimit(.minutes(5)), arguments: BrittleWire.Fault.allCases)
  func linkFails(fault: BrittleWire.Fault) throws {
    let began = HostClock.now()
    let (source, destination) = try Self.fail(Self.cases[0], isBrittle: true, silenceSeconds: 3) { _, pair in
      try #require(pair.wire).fail(fault)
    }
    #expect(source.failure?.code == FailureCode.peerLost.rawValue, "\(source)")
    #expect(destination.failure?.code == FailureCode.peerLost.rawValue, "\(destination)")
    #expect(HostClock.now() - began < 60_000_000_000)
  }
}
