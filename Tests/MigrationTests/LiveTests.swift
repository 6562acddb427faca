// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import Lanes
import Migration
import PageModel
import Testing
import Transport
import Workload

/// Whether writes can be tracked here; said aloud where not.
let tracking: (isPossible: Bool, comment: Comment) = {
  let refusal = DirtyTracking.refusal(of: .automatic)
  if let refusal { print("SKIPPED: tests of guests that run: \(refusal)") }
  return (refusal == nil, "\(refusal.map { "\($0)" } ?? "")")
}()

@Suite("A guest that runs is moved", .serialized, .enabled(if: tracking.isPossible, tracking.comment))
struct LiveTests {
  /// Moves a guest; it has to arrive and to run on undamaged.
  private func move(_ setup: LiveMigration.Setup, _ comment: Comment? = nil) throws -> MigrationReport {
    let migration = try LiveMigration(setup)
    migration.start()
    let report = try migration.source().run()
    let why = comment ?? "\(report.failure?.reason ?? "")"
    try #require(report.outcome == .completed, why)
    #expect(try migration.finish().outcome == .completed, why)
    try migration.expectRunsAtDestination(comment)
    return report
  }

  @Test(
    "Memory is the same at the hand-over, and the guest goes on undamaged, with every codec",
    arguments: ["none", "lz4", "zstd", "deflate", "auto", "zstd-long"])
  func codecs(codec: String) throws {
    var setup = LiveMigration.Setup()
    setup.codec = codec
    let report = try move(setup)
    let live = try #require(report.live)
    #expect(live.guestIs == .atDestination)
    #expect(live.iterations.count >= 2)
    #expect(report.blocks.allSatisfy { $0.digest != nil })
  }

  @Test(
    "Every pattern of writes", arguments: ["sparse", "pages", "sequential", "hot", "growing:1", "idle"])
  func patterns(pattern: String) throws {
    var setup = LiveMigration.Setup()
    setup.plan.pattern = try WorkloadPattern(parsing: pattern)
    _ = try move(setup)
  }

  @Test(
    "Every kind of memory and of tracking",
    arguments: [AnonymousMemory.Backing.anonymous(hugePages: true), .anonymous(hugePages: false), .memfd],
    DirtyTracking.Kind.allCases)
  func kinds(backing: AnonymousMemory.Backing, tracking: DirtyTracking.Kind) throws {
    guard DirtyTracking.refusal(of: tracking, isShared: backing == .memfd) == nil else {
      print("SKIPPED: \(tracking) tracking of \(backing)")
      return
    }
    var setup = LiveMigration.Setup()
    setup.backing = backing
    setup.tracking = tracking
    _ = try move(setup)
  }

  @Test("Blocks of odd sizes, with more lanes than channels", arguments: [1, 3, 8])
  func blocks(lanes: Int) throws {
    var setup = LiveMigration.Setup()
    setup.blocks = [
      RAMBlock(name: "low", guestPhysicalBase: 0, byteCount: 4096 * 63),
      RAMBlock(name: "main", guestPhysicalBase: 1 << 20, byteCount: 4096 * 5001),
      RAMBlock(name: "one", guestPhysicalBase: 1 << 32, byteCount: 4096),
    ]
    setup.plan.workingSetByteCount = 0
    setup.channels = min(2, lanes)
    setup.lanes = lanes
    _ = try move(setup)
  }

  @Test("Writers that never rest: what stop-and-copy has to carry is all of their working set, whole and untorn")
  func storm() throws {
    for pattern in [WorkloadPattern.pages, .sparse, .hot] {
      var setup = LiveMigration.Setup()
      setup.plan = WorkloadPlan(
        pattern: pattern, megabytesPerSecond: 0, workingSetByteCount: 4 << 20, threadCount: 2, compressibility: 0)
      setup.downtimeLimit = .seconds(2)
      setup.verify = false
      _ = try move(setup, "\(pattern)")
    }
  }

  @Test("Statistics add up, and carry the names of QEMU")
  func statistics() throws {
    let migration = try LiveMigration(LiveMigration.Setup())
    migration.start()
    let session = try migration.source()
    let report = session.run()
    _ = try migration.finish()
    let now = session.statistics
    let iterations = try #require(report.live?.iterations)
    #expect(now.status == .completed && now.ram.remaining == 0)
    #expect(now.ram.transferred == now.ram.precopyBytes + now.ram.downtimeBytes)
    #expect(now.ram.duplicate == now.pages.zero && now.ram.normal == now.pages.data)
    #expect(iterations.reduce(0) { $0 + $1.zeroPages } == now.pages.zero)
    #expect(iterations.reduce(0) { $0 + $1.dataPages } == now.pages.data)
    #expect(iterations.reduce(0) { $0 + $1.deltaPages } == now.pages.delta)
    #expect(iterations.reduce(0) { $0 + $1.unchangedPages } == now.pages.unchanged)
    let downtime = try #require(now.downtimeParts)
    let parts = downtime.pause + downtime.sync + downtime.transfer + downtime.commit + downtime.resume
    #expect(abs(parts - downtime.milliseconds) < 0.01)
    migration.destinationGuest?.stop()
  }

  @Test("A receiver of images refuses a guest that runs, at once; the guest does not notice")
  func refusedByImages() throws {
    let harness = try Harness()
    harness.start()
    var setup = LiveMigration.Setup()
    setup.verify = false
    let migration = try LiveMigration(setup)
    migration.guest.fill()
    migration.guest.start()
    let report = try migration.source(to: harness.listener.endpoint).run()
    #expect(report.failure?.code == FailureCode.refused.rawValue)
    #expect(report.failure?.reason.contains("the guest runs") == true)
    #expect(try harness.finish().outcome == .failed)
    try migration.expectRunsAtSource()
  }
}
