// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Migration
import TestSupport
import Testing

@testable import QEMUBridge

/// What is switched on for a guest that works while it is migrated.
struct LiveCase: Sendable, CustomStringConvertible {
  let description: String
  var capabilities: [String] = []
  /// Of the source only, as are the parameters.
  var sourceCapabilities: [String] = []
  var parameters: [String: Int] = [:]
  var codec = "auto"
  var isDirect = true
  var keepsAll = false
  var mode = RelayReport.Mode.direct
  /// Pages that the guest rewrites a second; bytes a second of the link.
  var rate = 1500
  var bandwidth: UInt64 = 15_000_000

  init(_ description: String, _ change: (inout LiveCase) -> Void = { _ in }) {
    self.description = description
    change(&self)
  }

  func pair(to ram: String, isBrittle: Bool = false) throws -> ProxyPair {
    try ProxyPair(
      codec: codec, bandwidth: bandwidth, keepsAll: keepsAll, direct: { _ in isDirect ? .file(path: ram) : .off },
      hasHypervisor: false, isBrittle: isBrittle, silenceSeconds: 5)
  }
}

@Suite(
  "A Linux guest that works is migrated through a pair",
  .enabled(if: LiveGuest.folder != nil, "NOT TESTED: guests that work: scripts/test --long"),
  .enabled(if: QEMUProcess.path != nil, "NOT TESTED: qemu-system-x86_64 is not installed"), .serialized)
struct LiveGuestTests {
  private static let cases = [
    LiveCase("plain"),
    LiveCase("return path") { $0.capabilities = ["return-path"] },
    LiveCase("return path, through QEMU's stream") {
      $0.capabilities = ["return-path"]
      ($0.isDirect, $0.mode, $0.codec) = (false, .pages, "zstd:1")
    },
    LiveCase("xbzrle") { ($0.capabilities, $0.sourceCapabilities) = (["return-path"], ["xbzrle"]) },
    LiveCase("xbzrle, all kept") {
      ($0.capabilities, $0.sourceCapabilities, $0.keepsAll) = (["return-path"], ["xbzrle"], true)
    },
    LiveCase("compress") { $0.capabilities = ["return-path", "compress"] },
    LiveCase("multifd") { $0.capabilities = ["return-path", "multifd"] },
    LiveCase("multifd, through QEMU's stream") {
      $0.capabilities = ["return-path", "multifd"]
      ($0.isDirect, $0.mode, $0.codec) = (false, .pages, "zstd:1")
    },
    LiveCase("auto-converge") {
      ($0.capabilities, $0.sourceCapabilities) = (["return-path"], ["auto-converge"])
      // Too much for the link, until the guest is slowed down.
      $0.parameters = ["cpu-throttle-initial": 60, "cpu-throttle-increment": 30]
      ($0.rate, $0.bandwidth, $0.codec) = (6000, 4_000_000, "lz4")
    },
  ]

  @Test("It arrives whole, and goes on", .timeLimit(.minutes(4)), arguments: cases)
  func arrives(how: LiveCase) throws {
    let folder = TemporaryDirectory()
    let source = try LiveGuest(in: folder, name: "source", rate: how.rate)
    defer { source.end() }
    let offered = try source.qemu.offers(how.capabilities + how.sourceCapabilities)
    guard offered else { return print("NOT TESTED: \(how): this QEMU has no such capability") }
    let destination = try LiveGuest(in: folder, name: "destination", rate: how.rate, isIncoming: true)
    defer { destination.end() }
    let (told, reports) = try Self.migrate(source, destination, how)
    #expect(reports.destination.first?.mode == how.mode, "\(reports.destination)")
    if how.sourceCapabilities == ["xbzrle"] {
      let cache = try #require(told["xbzrle-cache"] as? [String: Any])
      #expect(try #require(cache["pages"] as? Int) > 0, "no page came as a delta: \(cache)")
    }
    if how.sourceCapabilities == ["auto-converge"] {
      #expect(told["throttle"] as? Int ?? 0 > 0, "the guest was not slowed down")
    }
  }

  @Test("Three times, to and fro and to", .timeLimit(.minutes(4)))
  func toAndFro() throws {
    let folder = TemporaryDirectory()
    var guest = try LiveGuest(in: folder, name: "0")
    defer { guest.end() }
    for leg in 1...3 {
      let next = try LiveGuest(in: folder, name: "\(leg)", isIncoming: true)
      do { try Self.migrate(guest, next, LiveCase("leg \(leg)") { $0.capabilities = ["return-path"] }) } catch {
        next.end()
        throw error
      }
      guest.end()
      guest = next
    }
  }

  /// Migrates, compares memory while both guests stand still, and lets the one that has arrived go on.
  /// - Returns: what QEMU says of it (and `throttle`, the most in percent), and what the halves do.
  @discardableResult private static func migrate(
    _ source: LiveGuest, _ destination: LiveGuest, _ how: LiveCase
  ) throws -> (told: [String: Any], reports: (source: [RelayReport], destination: [RelayReport])) {
    let pair = try how.pair(to: destination.ram)
    try source.qemu.configure(
      how.capabilities + how.sourceCapabilities, how.parameters.merging(["downtime-limit": 1]) { $1 })
    try destination.qemu.configure(how.capabilities)
    try destination.qemu.command("migrate-incoming", ["uri": "unix:\(pair.directory.file("in"))"])
    var told: [String: Any] = [:]
    let reports = try pair.run {
      try source.qemu.command("migrate", ["uri": "unix:\(pair.directory.file("out"))"])
      told = try goOn(source.qemu)
      #expect(told["status"] as? String == "completed")
    }
    let halves = reports.source + reports.destination
    #expect(halves.allSatisfy { $0.failure == nil }, "\(halves)")
    try destination.qemu.wait(until: "paused", "prelaunch")
    let differing = try destination.pagesThatDiffer(from: source)
    #expect(differing == [], "\(differing.count) pages of \(LiveGuest.byteCount >> 12)")
    let left = source.lastPass
    #expect(!destination.hasSpoken)
    try destination.qemu.command("cont")
    try destination.wait(for: 4, since: left)
    let passes = source.passes + destination.passes
    #expect(passes.allSatisfy { $0.bad == 0 }, "\(passes)")
    // One line may be told half here and half there.
    #expect(destination.passes.first.map { $0.number - left <= 2 } == true, "\(passes)")
    let rounds = (told["ram"] as? [String: Any])?["dirty-sync-count"] as? Int ?? 0
    print(
      "\(how): \(told["total-time"] ?? "-") ms, \(rounds) rounds, downtime \(told["downtime"] ?? "-") ms, "
        + "\(differing.count) pages differ, passes \(left) + \(destination.lastPass - left), bad=0")
    return (told, reports)
  }

  /// Lets a migration make some rounds before it may end, and waits for that.
  private static func goOn(_ qemu: QEMUProcess) throws -> [String: Any] {
    var throttle = 0
    var mayEnd = false
    for _ in 0..<1200 {
      var told = try qemu.command("query-migrate")
      throttle = max(throttle, told["cpu-throttle-percentage"] as? Int ?? 0)
      guard ["setup", "active", "device"].contains(told["status"] as? String) else {
        told["throttle"] = throttle
        return told
      }
      let rounds = (told["ram"] as? [String: Any])?["dirty-sync-count"] as? Int ?? 0
      if rounds > 5, !mayEnd {
        mayEnd = true
        try qemu.command("migrate-set-parameters", ["downtime-limit": 500])
      }
      HostClock.sleep(nanoseconds: 100_000_000)
    }
    throw QEMUProcess.Failure(description: "the migration does not end: \(try qemu.command("query-migrate"))")
  }

  // MARK: What fails

  private static let slow = LiveCase("slow") { ($0.capabilities, $0.bandwidth) = (["return-path"], 2_000_000) }

  /// Disturbs a migration in its middle; the destination would start its guest by itself.
  private static func fail(
    isBrittle: Bool = false, sourceSurvives: Bool = true, _ disturb: (LiveGuest, LiveGuest, ProxyPair) throws -> Void
  ) throws {
    let folder = TemporaryDirectory()
    let source = try LiveGuest(in: folder, name: "source")
    defer { source.end() }
    let destination = try LiveGuest(in: folder, name: "destination", isIncoming: true, isHeld: false)
    defer { destination.end() }
    let pair = try slow.pair(to: destination.ram, isBrittle: isBrittle)
    for end in [source, destination] { try end.qemu.configure(slow.capabilities) }
    try destination.qemu.command("migrate-incoming", ["uri": "unix:\(pair.directory.file("in"))"])
    let reports = try pair.run {
      try source.qemu.command("migrate", ["uri": "unix:\(pair.directory.file("out"))"])
      HostClock.sleep(nanoseconds: 3_000_000_000)
      #expect(try source.qemu.migration == "active")
      try disturb(source, destination, pair)
      if sourceSurvives { #expect(try ["cancelled", "failed"].contains(source.qemu.waitForMigration())) }
    }
    #expect(reports.source.first?.failure != nil && reports.destination.first?.failure != nil, "\(reports)")
    if sourceSurvives {
      try source.wait(for: 3, since: source.lastPass)
      #expect(source.passes.allSatisfy { $0.bad == 0 }, "\(source.passes)")
    }
    #expect(destination.qemu.hasNoGuest() && !destination.hasSpoken)
  }

  @Test("Cancelled in the middle: it goes on where it was", .timeLimit(.minutes(3)))
  func cancelled() throws {
    try Self.fail { source, _, _ in try source.qemu.command("migrate_cancel") }
  }

  @Test("The destination's QEMU is killed: it goes on where it was", .timeLimit(.minutes(3)))
  func destinationKilled() throws { try Self.fail { _, destination, _ in destination.end() } }

  @Test("The source's QEMU is killed: it does not run at the destination", .timeLimit(.minutes(3)))
  func sourceKilled() throws { try Self.fail(sourceSurvives: false) { source, _, _ in source.end() } }

  @Test(
    "The link fails: it goes on where it was", .timeLimit(.minutes(3)), arguments: [BrittleWire.Fault.closed, .silent])
  func linkFails(fault: BrittleWire.Fault) throws {
    try Self.fail(isBrittle: true) { _, _, pair in try #require(pair.wire).fail(fault) }
  }
}
