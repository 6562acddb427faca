// SPDX-License-Identifier: Apache-2.0
import Control
import GuestMemory
import HostSystem
import Lanes
import Logging
import Migration
import PageCodecs
import PageModel
import Synchronization
import TestSupport
import Testing
import Transport
import Workload

/// Whether writes can be tracked here; said aloud where not.
let tracking: (isPossible: Bool, comment: Comment) = {
  let refusal = DirtyTracking.refusal(of: .automatic)
  if let refusal { print("SKIPPED: tests of guests that run: \(refusal)") }
  return (refusal == nil, "\(refusal.map { "\($0)" } ?? "")")
}()

/// A guest that runs and is moved within this process, with a control socket: real threads, real tracking, real sockets.
final class ControlledMigration: Sendable {
  struct Setup: Sendable {
    var plan = WorkloadPlan(
      pattern: .pages, megabytesPerSecond: 60, workingSetByteCount: 8 << 20, mix: .init(zero: 0, text: 0, random: 100),
      compressibility: 0)
    /// Bytes per second; 0: no limit.
    var bandwidth: UInt64 = 0
    var downtimeLimit = Duration.milliseconds(100)
    var holds = true
    /// How long the destination takes to reserve memory, in nanoseconds.
    var reservation: UInt64 = 0
    /// Whether anybody answers at the destination.
    var hasDestination = true
  }

  static let byteCount: UInt64 = 16 << 20

  let folder = TemporaryDirectory()
  let guest: WorkloadGuest
  let session: SourceSession
  let socket: ControlSocket
  private let destination: DestinationSession?
  private let listener: Listener
  private let arrival: Arrival
  private let threads = Mutex<[HostThread]>([])
  private let reports = Mutex<(source: MigrationReport?, destination: MigrationReport?)>((nil, nil))

  private final class Arrival: Sendable {
    let guest = Mutex<WorkloadArrival?>(nil)
  }

  var path: String { folder.file("control") }

  init(_ setup: Setup = .init()) throws {
    let memory = try AnonymousMemory(
      blocks: try BlockTable([RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: Self.byteCount)]),
      populateAhead: false, backing: .anonymous(hugePages: true))
    guest = try WorkloadGuest(
      setup.plan, memory: memory, dirtyLog: try DirtyTracking.log(for: memory, kind: .automatic))
    listener = try Listener(endpoint: .tcp(host: "127.0.0.1", port: 0), options: .init())
    let arrived = Arrival()
    arrival = arrived
    destination =
      setup.hasDestination
      ? DestinationSession(
        listener: listener,
        configuration: .init(
          waitLimit: .seconds(20), setupTimeout: .seconds(5), silenceLimit: .seconds(5), runsGuests: true,
          software: "test"),
        logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
        makeGuest: { (blocks) throws(GuestMemoryError) in
          HostClock.sleep(nanoseconds: setup.reservation)
          let made = WorkloadArrival(try AnonymousMemory(blocks: blocks, populateAhead: false))
          arrived.guest.withLock { $0 = made }
          return made
        }) : nil
    var configuration = SourceSession.Configuration(
      endpoint: listener.endpoint, connectTimeout: .seconds(5), channelCount: 2, laneCount: 2,
      bandwidthLimit: setup.bandwidth, deltaCache: .off, downtimeLimit: setup.downtimeLimit, verify: false,
      software: "test")
    configuration.settings.holds = setup.holds
    session = SourceSession(guest: guest, configuration: configuration)
    socket = try ControlSocket(path: folder.file("control"), version: "1.2.3")
    guest.fill()
    guest.start()
    socket.start(session)
    let source = HostThread(name: "source") { [self] in
      let report = session.run()
      reports.withLock { $0.source = report }
      socket.finish(report)
    }
    threads.withLock { $0.append(source) }
    guard let destination else { return }
    let other = HostThread(name: "destination") { [self] in
      let report = destination.run()
      reports.withLock { $0.destination = report }
    }
    threads.withLock { $0.append(other) }
  }

  func client() throws -> ControlClient { try ControlClient(path: path) }

  /// Waits for something that is to be so soon.
  func wait(within seconds: Double = 10, _ what: Comment, until isSo: () throws -> Bool) throws {
    let deadline = HostClock.now() + UInt64(seconds * 1e9)
    while try !isSo() {
      try #require(HostClock.now() < deadline, what)
      HostClock.sleep(nanoseconds: 1_000_000)
    }
  }

  func wait(for phase: Phase) throws {
    try wait("phase \(phase.rawValue)") { session.statistics.status == phase }
  }

  /// Waits until the guest could be handed over, were it not held.
  func waitUntilSynced() throws {
    try wait("a sync") { session.statistics.ram.dirtySyncCount >= 2 }
  }

  /// The source's report, when both sides have ended.
  func finish() throws -> MigrationReport {
    let running = threads.withLock { threads -> [HostThread] in
      defer { threads = [] }
      return threads
    }
    running.forEach { $0.join() }
    return try #require(reports.withLock { $0.source })
  }

  /// The guest runs here, undamaged, and nothing of the socket is left.
  func expectRunsAtSource() throws {
    let before = guest.statistics.writes
    HostClock.sleep(nanoseconds: 30_000_000)
    #expect(guest.statistics.writes > before)
    try guest.pause()
    #expect(try guest.verify(everything: true).isSound)
    guest.stop()
    #expect(!TemporaryDirectory.exists(path))
  }

  /// The guest has arrived, undamaged, and nothing of the socket is left.
  func expectArrived() throws {
    #expect(reports.withLock { $0.destination?.outcome } == .completed)
    let moved = try #require(arrival.guest.withLock { $0?.guest })
    try moved.pause()
    #expect(try moved.verify(everything: true).isSound)
    moved.stop()
    guest.stop()
    #expect(!TemporaryDirectory.exists(path))
  }

  /// Cancels, and waits for the end.
  func abandon() throws {
    session.cancel("done")
    _ = try finish()
    guest.stop()
  }
}

extension ControlClient {
  func status() throws -> ControlStatus { try ask(.status, as: ControlStatus.self) }

  @discardableResult func order(_ command: ControlCommand) throws -> [String: JSONValue] {
    try ask(command, as: [String: JSONValue].self)
  }

  @discardableResult func set(_ values: [String: JSONValue]) throws -> [String: JSONValue] {
    try ask(.set, values, as: [String: [String: JSONValue]].self)["settings"] ?? [:]
  }

  /// Sends a line, and returns the answer's code; nil: it was carried out.
  func code(_ line: String) throws -> String? {
    try send(Array(line.utf8) + [UInt8(ascii: "\n")])
    return try answerCode()
  }

  func answerCode() throws -> String? {
    let text = String(decoding: try nextLine(within: .seconds(5)), as: UTF8.self)
    guard let mark = text.firstRange(of: #""code":""#) else {
      #expect(text.contains(#""ok":true"#), "\(text)")
      return nil
    }
    return String(text[mark.upperBound...].prefix { $0 != "\"" })
  }
}
