// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Lanes
public import Migration
import PageCodecs
import Synchronization
import Transport
import Wire

// What a half of a pair says of itself while it runs, all connections of its hypervisor together, and what may be changed.

/// One connection's part of it.
struct RelayFigures {
  var report: RelayReport
  /// Whether the stream's beginning was read.
  var isModeKnown: Bool
  /// On the monotonic clock.
  var startedAt: UInt64
  var activeAt: UInt64?
  var endedAt: UInt64?
  var windowUsed = 0
  var channelBytes: [UInt64] = []
}

extension MigrationStatistics {
  /// - Parameters:
  ///   - all: of each connection; the first is the one that came first.
  ///   - sent: of the lanes, which only the stream's own connection has.
  init(
    _ role: MigrationReport.Role, _ all: [RelayFigures], _ sent: SendingStatistics, meters: RelayMeters, peer: String,
    channels: Int
  ) {
    let reports = all.map { $0.report }
    var relay = Relay(role: role)
    relay.connections = all.count
    relay.openConnections = reports.count { !$0.phase.isFinal }
    relay.mode = Self.mode(all)
    relay.streamBytes = reports.reduce(0) { $0 + $1.streamBytes }
    relay.streamRate = meters.stream.rate(relay.streamBytes)
    relay.passedBytes = reports.reduce(0) { $0 + $1.relayedBytes }
    relay.iterations = reports.map { $0.iterations }.max() ?? 0
    relay.channelBytes = all.flatMap { $0.channelBytes }
    if role == .source {
      relay.receivedPages = reports.reduce(0) { $0 + $1.pages.received }
      relay.supersededPages = reports.reduce(0) { $0 + $1.pages.superseded }
      relay.heldBytes = reports.reduce(0) { $0 + $1.heldBytes }
      relay.window = .init(
        used: all.reduce(0) { $0 + $1.windowUsed }, limit: reports.reduce(0) { $0 + $1.windowBytes },
        highest: reports.reduce(0) { $0 + $1.highestWindowBytes })
    }
    var ram = RAM()
    ram.transferred = reports.reduce(0) { $0 + $1.wireBytes }
    ram.total = reports.map { $0.guestBytes }.max() ?? 0
    ram.duplicate = sent.zeroPages
    ram.normal = sent.dataPages
    ram.normalBytes = sent.dataPages * 4096
    ram.mbps = meters.wire.rate(ram.transferred) * 8 / 1e6
    ram.pagesPerSecond = meters.pages.rate(relay.receivedPages ?? sent.donePages)
    ram.precopyBytes = ram.transferred
    self.init(
      relay, status: meters.endedEarly?.phase ?? Self.phase(reports), times: Self.times(all), ram: ram, sent: sent,
      peer: peer, channels: channels)
  }

  /// What those that can be taken apart are carried as, if there is one.
  private static func mode(_ all: [RelayFigures]) -> Relay.Mode? {
    let known = all.filter { $0.isModeKnown }.compactMap { Relay.Mode(rawValue: $0.report.mode.rawValue) }
    return known.first { $0 != .verbatim } ?? known.first
  }

  /// It is over when all connections have ended, and went wrong if one of them did.
  static func phase(_ reports: [RelayReport]) -> Phase {
    let phases = reports.map { $0.phase }
    guard phases.contains(where: { !$0.isFinal }) || phases.isEmpty else {
      return phases.contains(.failed) ? .failed : phases.contains(.cancelled) ? .cancelled : .completed
    }
    return [.switchover, .active].first { phases.contains($0) } ?? (phases.contains(.completed) ? .active : .setup)
  }

  private static func times(_ all: [RelayFigures]) -> RelayTimes {
    var times = RelayTimes()
    guard let started = all.map({ $0.startedAt }).min() else { return times }
    let now = HostClock.now()
    let ended = all.map { $0.endedAt ?? now }.max() ?? now
    let active = all.compactMap { $0.activeAt }.min() ?? ended
    times.total = ended - min(ended, started)
    times.setup = min(times.total, active - min(active, started))
    return times
  }
}

// MARK: - The source's half

extension RelaySource {
  var figures: RelayFigures {
    let now = state.withLock { $0 }
    return RelayFigures(
      report: report, isModeKnown: now.activeAt != nil, startedAt: startedAt, activeAt: now.activeAt,
      endedAt: now.endedAt, windowUsed: window.used, channelBytes: now.connections.dropFirst().map { $0.sentByteCount })
  }

  /// Does as the settings say, from the next frames on.
  func follow(_ settings: MigrationSettings) {
    let now = state.withLock { $0 }
    now.cacheBudget?.set(settings.deltaCache)
    now.pipeline?.set(workerCount: settings.workers)
    _ = now.pipeline?.set(codec: settings.codec)
  }
}

extension RelayDeparture: Controllable {
  /// The migration's name, short, as both halves' logs have it.
  public var name: String { "\(controls.identity)" }

  public var statistics: MigrationStatistics {
    let all = sessions.withLock { $0 }
    let pipeline = all.lazy.compactMap { session in session.state.withLock { $0.pipeline } }.first
    return MigrationStatistics(
      .source, all.map { $0.figures }, pipeline?.statistics ?? .init(), meters: meters,
      peer: "\(configuration.endpoint)", channels: pipeline?.channelCountInUse ?? 0)
  }

  public var settings: MigrationSettings { controls.settings }

  public func absence(ofSetting name: String) -> String? { RelayRefusals.source(name) }

  /// Changes settings while it runs, for all connections; any thread. They hold when this returns.
  public func change(_ body: (inout MigrationSettings) -> Void) throws(SettingError) {
    let new = try controls.change(body) { (new) throws(SettingError) in try check(new) }
    for session in sessions.withLock({ $0 }) { session.follow(new) }
  }

  private func check(_ new: MigrationSettings) throws(SettingError) {
    let (now, lanes) = (controls.settings, configuration.laneCount)
    guard (1...lanes).contains(new.workers) else {
      throw SettingError("workers: 1 to \(lanes) (this proxy has \(lanes) lanes), not \(new.workers)")
    }
    let tags = CodecRegistry.offered(hasHistory: configuration.codec.choices.contains { $0.hasHistory })
    guard new.codec.tags.allSatisfy({ tags.contains($0) }) else {
      throw SettingError(
        "codec: \(new.codec) was not agreed on with the other half at the start (agreed: "
          + tags.compactMap { CodecRegistry.codec(tag: $0)?.identity.name }.joined(separator: ", ") + ")")
    }
    let isOfLanes = new.codec != now.codec || new.workers != now.workers || new.deltaCache != now.deltaCache
    guard !isOfLanes || statistics.relay?.mode != .verbatim else {
      throw SettingError("this stream is passed on as it is, only its bandwidth can be changed (docs/QEMU.md says why)")
    }
  }

  public func order(_ order: MigrationOrder) throws(SettingError) { throw RelayRefusals.order(order) }

  /// What has become of it, in the words of any migration; once ``run()`` has returned.
  public var summary: MigrationReport {
    let pipeline = sessions.withLock { $0 }.lazy.compactMap { session in session.state.withLock { $0.pipeline } }.first
    return MigrationReport(
      statistics, session: name, codec: .init(configuration.codec, pipeline?.statistics ?? .init()),
      cpuNanoseconds: meters.cpuNanoseconds, failure: meters.endedEarly?.failure ?? reports.firstFailure)
  }
}

// MARK: - The destination's half

extension RelayArrival {
  var figures: RelayFigures {
    let now = state.withLock { $0 }
    return RelayFigures(
      report: report, isModeKnown: now.activeAt != nil, startedAt: startedAt, activeAt: now.activeAt,
      endedAt: now.endedAt, channelBytes: now.channels.map { $0.receivedByteCount })
  }
}

extension RelayDestination: Controllable {
  /// The migration's name, short, as both halves' logs have it; nil before the other half has come.
  public var name: String? { sessions.withLock { $0.first }.map { "\($0.hello.session)" } }

  public var statistics: MigrationStatistics {
    let all = sessions.withLock { $0 }
    let figures = all.map { $0.figures }
    var arrived = SendingStatistics()
    for report in figures.map({ $0.report }) {
      arrived.zeroPages += report.pages.zero
      arrived.dataPages += report.pages.data
      arrived.deltaPages += report.pages.delta
    }
    return MigrationStatistics(
      .destination, figures, arrived, meters: meters, peer: all.first?.control.peer ?? "",
      channels: figures.reduce(0) { $0 + $1.channelBytes.count })
  }

  public var settings: MigrationSettings { MigrationSettings() }

  public func absence(ofSetting name: String) -> String? { RelayRefusals.destination(name) }

  public func change(_ body: (inout MigrationSettings) -> Void) throws(SettingError) {
    throw SettingError("nothing can be changed here; the proxy beside the source QEMU has settings")
  }

  public func order(_ order: MigrationOrder) throws(SettingError) { throw RelayRefusals.order(order) }

  /// What has become of it, in the words of any migration; once ``run()`` has returned.
  public var summary: MigrationReport {
    MigrationReport(
      statistics, session: name ?? "", codec: .init(.none, .init()), cpuNanoseconds: meters.cpuNanoseconds,
      failure: meters.endedEarly?.failure ?? reports.firstFailure)
  }
}

extension [RelayReport] {
  fileprivate var firstFailure: MigrationReport.Failure? { lazy.compactMap { $0.failure }.first }
}
