// SPDX-License-Identifier: Apache-2.0
import Foundation
import GuestMemory
import HostSystem
import Lanes
import Migration
import PageModel
import TestSupport
import Testing
import Workload

/// Migrations one after the other, each with everything chosen by its seed. `scripts/soak migrations` runs 200.
@Suite("Random migrations of guests that run", .serialized, .enabled(if: tracking.isPossible, tracking.comment))
struct RandomMigrationTests {
  private static func number(_ name: String) -> UInt64? {
    ProcessInfo.processInfo.environment[name].flatMap { UInt64($0) }
  }

  @Test("Memory is the same at the hand-over, the guest goes on undamaged, and nothing is left behind")
  func inARow() throws {
    let count = Self.number("PAGEFERRY_SOAK_MIGRATIONS")
    let first = Self.number("PAGEFERRY_SOAK_SEED") ?? 1
    // What the first ones leave (stacks, arenas, the codecs' tables) stays.
    let warmUp = 5
    var before: Footprint?
    for index in 0..<(count ?? 6) {
      if index == warmUp { before = .current }
      let seed = first &+ index
      let setup = Self.setup(seed: seed)
      let started = HostClock.now()
      let outcome = try Self.move(setup, seed: seed)
      if count != nil {
        print(
          "migration, seed \(seed): \(Double((HostClock.now() - started) / 1_000_000) / 1000) s, \(outcome); "
            + Self.describe(setup))
      }
    }
    // In the whole suite other tests come and go.
    guard count != nil, let before else { return }
    let after = Footprint.current
    print("migration, footprint before \(before), after \(after)")
    #expect(after.descriptors <= before.descriptors, "descriptors are left open")
    #expect(after.threads <= before.threads, "threads are left")
    // Guests of up to 40 MiB came and went.
    #expect(after.residentBytes < before.residentBytes + 16 << 20, "memory is left")
  }

  private static func move(_ setup: LiveMigration.Setup, seed: UInt64) throws -> String {
    let migration = try LiveMigration(setup)
    migration.start()
    let report = try migration.source().run()
    try #require(report.outcome == .completed, "seed \(seed): \(report.failure?.reason ?? "")")
    #expect(try migration.finish().outcome == .completed, "seed \(seed)")
    try migration.expectRunsAtDestination(for: 10, "seed \(seed)")
    migration.guest.stop()
    let live = try #require(report.live)
    return "\(live.iterations.count) iterations, downtime \(Int(live.downtime?.milliseconds ?? -1)) ms, "
      + "\(report.pages.data) data, \(report.pages.delta) delta, \(report.pages.unchanged) unchanged"
  }

  /// What the process holds.
  private struct Footprint: CustomStringConvertible {
    var descriptors: Int
    var threads: Int
    var residentBytes: Int

    static var current: Footprint {
      // Threads of visitors end by themselves, a moment later.
      HostClock.sleep(nanoseconds: 200_000_000)
      func count(_ path: String) -> Int { (try? FileManager.default.contentsOfDirectory(atPath: path).count) ?? 0 }
      let pages = HostMemory.firstBytes(of: "/proc/self/statm").flatMap { Int($0.split(separator: " ")[1]) } ?? 0
      return Footprint(
        descriptors: count("/proc/self/fd"), threads: count("/proc/self/task"), residentBytes: pages * 4096)
    }

    var description: String {
      "\(descriptors) descriptors, \(threads) threads, \(ByteCount.format(UInt64(residentBytes)))"
    }
  }

  // MARK: Choices

  private static func setup(seed: UInt64) -> LiveMigration.Setup {
    var random = SeededGenerator(seed: seed)
    func pick<Value>(_ values: [Value]) -> Value { values[Int.random(in: 0..<values.count, using: &random)] }
    var setup = LiveMigration.Setup()
    var base: UInt64 = 0
    setup.blocks = (0..<Int.random(in: 1...4, using: &random)).map { index in
      let pages = UInt64.random(in: 1...(index == 0 ? 8000 : 1000), using: &random)
      defer { base += (pages + UInt64.random(in: 0...3000, using: &random)) * 4096 }
      return RAMBlock(name: "block\(index)", guestPhysicalBase: base, byteCount: pages * 4096)
    }
    let total = setup.blocks.reduce(0) { $0 + $1.byteCount }
    setup.backing = pick([.anonymous(hugePages: true), .anonymous(hugePages: false), .memfd])
    setup.tracking =
      DirtyTracking.refusal(of: .synchronous, isShared: setup.backing == .memfd) == nil
      ? pick([.automatic, .automatic, .automatic, .synchronous]) : .automatic
    let threads = min(Int(total / 4096), Int.random(in: 1...3, using: &random))
    let pages = UInt64.random(in: UInt64(threads)...(total / 4096), using: &random)
    setup.plan = WorkloadPlan(
      pattern: pick([.idle, .sparse, .sparse, .pages, .sequential, .hot, .growing(seconds: 1)]),
      megabytesPerSecond: pick([0, 5, 50, 200]),
      workingSetOffset: UInt64.random(in: 0...(total / 4096 - pages), using: &random) * 4096,
      workingSetByteCount: pages * 4096, threadCount: threads, seed: seed,
      compressibility: Int.random(in: 0...100, using: &random))
    setup.codec = pick(["none", "lz4", "lz4:9", "zstd:1", "zstd:-5", "deflate:1", "zstd-long:1", "auto", "auto"])
    setup.channels = Int.random(in: 1...5, using: &random)
    setup.lanes = setup.channels + Int.random(in: 0...3, using: &random)
    setup.cache = pick([
      .automatic, .off, .percent(1), .percent(Double.random(in: 0.1...100, using: &random)),
      .bytes(UInt64.random(in: 0...(8 << 20), using: &random)),
    ])
    // What never rests has to fit into the downtime.
    setup.downtimeLimit = setup.plan.megabytesPerSecond == 0 ? .seconds(20) : .milliseconds(pick([300, 1000]))
    setup.switchoverLimit = .seconds(30)
    return setup
  }

  private static func describe(_ setup: LiveMigration.Setup) -> String {
    "\(setup.blocks.map { "\($0.pageCount)" }.joined(separator: "+")) pages, \(setup.plan), \(setup.codec), "
      + "\(setup.channels) channels, \(setup.lanes) lanes, cache \(setup.cache), \(setup.tracking)"
  }
}
