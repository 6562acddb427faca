// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import HostSystem
import Lanes
import Logging
import PageModel
import Synchronization
import Testing
import Transport
import Wire
import Workload

@testable import Migration

@Suite(
  "The number of channels changes while a guest is moved", .serialized,
  .enabled(if: tracking.isPossible, tracking.comment))
struct ChannelChangeTests {
  /// 24 MiB of which 8 are written at 60 MB/s, on a link of 30 MB/s: it goes on until it is told to end.
  private static func setup(lanes: Int = 4, channels: Int = 2) -> LiveMigration.Setup {
    var setup = LiveMigration.Setup()
    setup.plan = WorkloadPlan(
      pattern: .pages, megabytesPerSecond: 60, workingSetByteCount: 8 << 20,
      mix: ContentMix(zero: 0, text: 0, random: 100), compressibility: 0)
    setup.codec = "none"
    setup.cache = .off
    setup.lanes = lanes
    setup.channels = channels
    setup.bandwidth = 30_000_000
    setup.verify = true
    setup.steer = { $0.holds = true }
    return setup
  }

  /// Bytes of each data channel so far.
  private static func bytes(_ running: RunningMigration) -> [UInt64] {
    running.session.record.now.connections.dropFirst().map { $0.sentByteCount }
  }

  /// Which channels carry something in a while.
  private static func carrying(_ running: RunningMigration, milliseconds: UInt64 = 300) -> [Bool] {
    let before = bytes(running)
    HostClock.sleep(nanoseconds: milliseconds * 1_000_000)
    return zip(before, bytes(running)).map { $0 < $1 }
  }

  @Test(
    "It goes up and down, status and connections show it, and all memory arrives",
    arguments: [(2, "none"), (4, "none"), (2, "zstd-long:1")])
  func changes(channels: Int, codec: String) throws {
    // With a channel for each lane and so few CPUs lanes send themselves; otherwise senders do.
    var setup = Self.setup(channels: channels)
    setup.codec = codec
    let running = try RunningMigration(setup)
    try running.waitForIteration(2)
    #expect(running.session.statistics.channels == channels)
    for count in [4, 1, 3, 2, 4] {
      try running.session.change { $0.channels = count }
      try running.wait(seconds: 5, "\(count) channels in use") { $0.channels == count }
      try running.wait(seconds: 5, "\(count) channels at the destination") { _ in
        running.migration.destination.statistics.channels == count
      }
      let carrying = Self.carrying(running)
      #expect(carrying == (0..<carrying.count).map { $0 < count }, "\(count): \(carrying)")
      #expect(carrying.count == 4 && running.session.settings.channels == count)
    }
    try running.session.order(.complete)
    let report = try running.end()
    #expect(report.outcome == .completed, "\(report.failure?.reason ?? "")")
    #expect(report.channels == 4)
    #expect(try running.migration.finish().channels == 4)
    try running.migration.expectRunsAtDestination()
  }

  @Test("A change takes effect within 200 ms: on every lane, and on the connections")
  func soon() throws {
    let running = try RunningMigration(Self.setup())
    try running.waitForIteration(2)
    // The quickest of some: the machine may have other things to do.
    var quickest = UInt64.max
    for count in [4, 1, 4, 1, 4, 1] {
      let before = Self.bytes(running)
      let started = HostClock.now()
      try running.session.change { $0.channels = count }
      try running.wait("\(count) channels carry all") { _ in
        guard running.migration.destination.statistics.channels == count else { return false }
        return count == 1 || zip(before, Self.bytes(running)).allSatisfy { $0 < $1 }
      }
      quickest = min(quickest, HostClock.now() - started)
    }
    #expect(quickest < 200_000_000, "\(quickest) ns")
    running.session.cancel("enough")
    _ = try running.end()
    try running.migration.expectRunsAtSource()
  }

  @Test("Numbers that cannot be had are refused in one line, and change nothing", arguments: [-1, 0, 5, 64, 65, .max])
  func refused(count: Int) throws {
    let running = try RunningMigration(Self.setup())
    try running.waitForIteration(1)
    #expect(
      throws: SettingError("channels: 1 to 4 (this migration has 4 lanes), not \(count)")
    ) { try running.session.change { $0.channels = count } }
    #expect(running.session.settings.channels == 2 && running.session.statistics.channels == 2)
    running.session.cancel("enough")
    _ = try running.end()
    try running.migration.expectRunsAtSource()
  }

  @Test("A channel that cannot be opened is one line in the log; the migration goes on with those it has")
  func notOpened() throws {
    let warnings = Lines()
    var relay: FaultyRelay?
    defer { relay?.stop() }
    let running = try RunningMigration(Self.setup(), logger: Logger(label: "test") { _ in warnings }) { target in
      // The control channel, two data channels and a third.
      let made = try FaultyRelay(to: target, fault: .drop(from: 4))
      relay = made
      return made.endpoint
    }
    try running.waitForIteration(2)
    try running.session.change { $0.channels = 4 }
    try running.wait("the warning") { _ in warnings.count(.warning, "another data channel could not be opened") > 0 }
    #expect(running.session.settings.channels == 3 && running.session.statistics.channels == 3)
    try running.session.change { $0.channels = 1 }
    try running.wait("one channel") { _ in running.migration.destination.statistics.channels == 1 }
    try running.session.order(.complete)
    #expect(try running.end().outcome == .completed)
    #expect(warnings.count(.warning, "another data channel could not be opened") == 1)
    try running.migration.expectRunsAtDestination()
  }

  @Test("It can be cancelled while a channel is being opened")
  func cancelled() throws {
    var relay: FaultyRelay?
    defer { relay?.stop() }
    let running = try RunningMigration(Self.setup()) { target in
      let made = try FaultyRelay(to: target, fault: .stall(connection: 3, afterBytes: 10))
      relay = made
      return made.endpoint
    }
    try running.waitForIteration(2)
    try running.session.change { $0.channels = 4 }
    HostClock.sleep(nanoseconds: 50_000_000)
    let started = HostClock.now()
    running.session.cancel("enough")
    #expect(try running.end().failure?.code == FailureCode.cancelled.rawValue)
    // Not as long as an answer may take.
    #expect(HostClock.now() - started < 8_000_000_000)
    try running.migration.expectRunsAtSource()
  }

  @Test("Who attaches while pages flow must show the token and the next number")
  func strangers() throws {
    let migration = try LiveMigration(Self.setup())
    migration.start()
    func connect() throws -> ControlChannel {
      let connection = try Dialer(endpoint: migration.listener.endpoint, options: .init()).connect(within: .seconds(5))
      connection.setTimeout(.seconds(5))
      return ControlChannel(connection)
    }
    let control = try connect()
    try control.send(
      .hello(
        .init(
          session: .random(), channelCount: 1, laneCount: 3, features: [.runningGuest, .lanesMove], codecs: [0],
          software: "test", blocks: [RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: 1 << 20)])))
    guard case .accept(let accept) = try control.receive() else {
      Issue.record("not accepted")
      return
    }
    var kept: [ControlChannel] = []
    func attach(_ number: UInt16, token: SessionIdentity? = nil, version: UInt16 = 1) throws -> ControlMessage {
      let channel = try connect()
      kept.append(channel)
      try channel.send(.attach(.init(version: version, token: token ?? accept.token, channel: number)))
      return try channel.receive()
    }
    #expect(try attach(1) == .attached)
    while try control.receive() != .reserved {}
    let refusal = ControlMessage.reject(.init(code: FailureCode.refused.rawValue, reason: "wrong token or channel"))
    for number: UInt16 in [0, 1, 3, 4, 65535] { #expect(try attach(number) == refusal, "\(number)") }
    #expect(try attach(2, token: .random()) == refusal)
    #expect(try attach(2, version: 9) == refusal)
    for number: UInt16 in [2, 3] { #expect(try attach(number) == .attached) }
    #expect(try attach(4) == refusal)
    try control.send(.cancel(reason: "enough"))
    let report = try migration.finish()
    #expect(report.failure?.code == FailureCode.cancelledByPeer.rawValue, "\(report.failure?.reason ?? "")")
    migration.guest.stop()
  }

  @Test(
    "A source whose lanes are to move and cannot is refused",
    arguments: [[.lanesMove], [.lanesMove, .runningGuest, .digests]] as [SessionFeatures])
  func contradiction(features: SessionFeatures) throws {
    let migration = try LiveMigration(Self.setup())
    migration.start()
    let connection = try Dialer(endpoint: migration.listener.endpoint, options: .init()).connect(within: .seconds(5))
    let control = ControlChannel(connection)
    try control.send(
      .hello(
        .init(
          session: .random(), channelCount: 1, laneCount: 3, features: features, codecs: [0],
          software: "test", blocks: [RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: 1 << 20)])))
    guard case .reject(let refusal) = try control.receive() else {
      Issue.record("not rejected")
      return
    }
    #expect(refusal.code == FailureCode.protocolViolation.rawValue)
    #expect(try migration.finish().failure?.code == FailureCode.protocolViolation.rawValue)
    migration.guest.stop()
  }
}

/// Keeps what is logged.
private final class Lines: LogHandler, @unchecked Sendable {
  private let lines = Mutex<[(level: Logger.Level, text: String)]>([])
  var metadata: Logger.Metadata {
    get { [:] }
    set {}
  }
  var logLevel: Logger.Level {
    get { .trace }
    set {}
  }
  subscript(metadataKey _: String) -> Logger.Metadata.Value? {
    get { nil }
    set {}
  }

  func log(event: LogEvent) { lines.withLock { $0.append((event.level, "\(event.message)")) } }

  func count(_ level: Logger.Level, _ part: String) -> Int {
    lines.withLock { lines in lines.count { $0.level == level && $0.text.contains(part) } }
  }
}
