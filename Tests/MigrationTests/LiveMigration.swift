// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import HostSystem
import Lanes
import Logging
import Migration
import PageCodecs
import PageModel
import Synchronization
import Testing
import Transport
import Workload

/// A guest that runs and is moved, between two sessions in this process: real threads, real dirty tracking, real
/// sockets.
final class LiveMigration: Sendable {
  let guest: WorkloadGuest
  let listener: Listener
  let destination: DestinationSession
  private let destinationReport = Mutex<MigrationReport?>(nil)
  private let thread = Mutex<HostThread?>(nil)
  /// How one migration is set up.
  struct Setup: Sendable {
    var blocks = [RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: 24 << 20)]
    var backing = AnonymousMemory.Backing.anonymous(hugePages: true)
    var tracking = DirtyTracking.Kind.automatic
    var plan = WorkloadPlan(pattern: .sparse, megabytesPerSecond: 40, workingSetByteCount: 8 << 20)
    var codec = "lz4"
    var channels = 2
    var lanes = 2
    var cache = CacheBudget.Size.automatic
    var bandwidth: UInt64 = 0
    var verify = true
    var downtimeLimit = Duration.milliseconds(100)
    var switchoverLimit = Duration.seconds(10)
    var deadPeerSeconds = 15
    var sourceFailures = WorkloadFailures()
    var destinationFailures = WorkloadFailures()
    /// What else may be steered.
    var steer: @Sendable (inout MigrationSettings) -> Void = { _ in }
  }

  private let setup: Setup

  init(_ setup: Setup) throws {
    self.setup = setup
    let memory = try AnonymousMemory(
      blocks: try BlockTable(setup.blocks), populateAhead: false, backing: setup.backing)
    guest = try WorkloadGuest(
      setup.plan, memory: memory, dirtyLog: try DirtyTracking.log(for: memory, kind: setup.tracking))
    guest.failures = setup.sourceFailures
    listener = try Listener(endpoint: .tcp(host: "127.0.0.1", port: 0), options: .init())
    let (arrived, failures) = (ArrivalBox(), setup.destinationFailures)
    box = arrived
    destination = DestinationSession(
      listener: listener,
      configuration: .init(
        waitLimit: .seconds(20), setupTimeout: .seconds(5), silenceLimit: .seconds(setup.deadPeerSeconds),
        runsGuests: true, software: "test"),
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
      makeGuest: { (blocks) throws(GuestMemoryError) in
        let arrival = WorkloadArrival(try AnonymousMemory(blocks: blocks, populateAhead: false))
        arrival.failures = failures
        arrived.put(arrival)
        return arrival
      })
  }

  private final class ArrivalBox: Sendable {
    private let arrival = Mutex<WorkloadArrival?>(nil)
    func put(_ new: WorkloadArrival) { arrival.withLock { $0 = new } }
    var value: WorkloadArrival? { arrival.withLock { $0 } }
  }

  private let box: ArrivalBox

  /// The guest at the destination, once the destination has made it.
  var arrived: WorkloadArrival? { box.value }

  /// The same as a guest that runs there, once its state is loaded.
  var destinationGuest: WorkloadGuest? { arrived?.guest }

  /// Fills memory and lets the guest and the destination run.
  func start() {
    guest.fill()
    guest.start()
    thread.withLock {
      $0 = HostThread(name: "destination") { [self] in
        let report = destination.run()
        destinationReport.withLock { $0 = report }
      }
    }
  }

  func source(to endpoint: Endpoint? = nil, logger: Logger? = nil) throws -> SourceSession {
    var configuration = SourceSession.Configuration(
      endpoint: endpoint ?? listener.endpoint,
      socketOptions: .init(deadPeerSeconds: setup.deadPeerSeconds), connectTimeout: .seconds(5),
      channelCount: setup.channels, laneCount: setup.lanes, codec: try CodecPolicy(parsing: setup.codec),
      historyByteCount: 16 << 20, bandwidthLimit: setup.bandwidth, deltaCache: setup.cache,
      downtimeLimit: setup.downtimeLimit, switchoverLimit: setup.switchoverLimit, verify: setup.verify,
      software: "test")
    setup.steer(&configuration.settings)
    if let logger { configuration.logger = logger }
    return SourceSession(guest: guest, configuration: configuration)
  }

  /// The destination's report, once it has ended by itself.
  func finish() throws -> MigrationReport {
    thread.withLock { thread -> HostThread? in
      defer { thread = nil }
      return thread
    }?.join()
    return try #require(destinationReport.withLock { $0 })
  }

  /// The guest runs at the destination, and all its memory is what its writers know it to be.
  func expectRunsAtDestination(for milliseconds: UInt64 = 30, _ comment: Comment? = nil) throws {
    let arrival = try #require(arrived)
    let moved = try #require(arrival.guest, comment)
    let before = moved.statistics.writes
    HostClock.sleep(nanoseconds: milliseconds * 1_000_000)
    if setup.plan.pattern != .idle {
      // Its turn may take long to come on a host that has more to do than CPUs.
      let end = HostClock.now() + 20_000_000_000
      while moved.statistics.writes == before, HostClock.now() < end { HostClock.sleep(nanoseconds: 5_000_000) }
      #expect(moved.statistics.writes > before, comment)
    }
    try moved.pause()
    let found = try moved.verify(everything: true)
    #expect(found.isSound, "\(comment.map { "\($0): " } ?? "")\(found)")
    moved.stop()
  }

  /// The guest runs at the source, undamaged.
  func expectRunsAtSource(_ comment: Comment? = nil) throws {
    let before = guest.statistics.writes
    HostClock.sleep(nanoseconds: 30_000_000)
    if setup.plan.pattern != .idle { #expect(guest.statistics.writes > before, comment) }
    try guest.pause()
    let found = try guest.verify(everything: true)
    #expect(found.isSound, "\(comment.map { "\($0): " } ?? "")\(found)")
    guest.stop()
  }
}
