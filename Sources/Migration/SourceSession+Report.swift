// SPDX-License-Identifier: Apache-2.0
import Convergence
import GuestMemory
import HostSystem
import Lanes
import PageCodecs
import PageKernels
import PageModel
import Wire

extension SourceSession {
  /// The migration's name, short, as both sides' logs have it.
  public var name: String { "\(identity)" }

  /// The iterations that are over, oldest first; of more than 200, the first and the latest.
  public var iterations: [IterationReport] { record.now.iterations }

  /// Where the migration stands.
  public var statistics: MigrationStatistics {
    let now = record.now
    let sent = now.pipeline?.statistics ?? SendingStatistics()
    let seconds = clock.seconds
    let wire = now.wireBytes
    let active = max(seconds.active + seconds.switchover, 1e-9) * 1e9
    var ram = MigrationStatistics.RAM()
    ram.transferred = wire
    ram.remaining = clock.phase == .completed ? 0 : UInt64(now.remainingPages) * 4096
    ram.total = memory.blocks.byteCount
    ram.duplicate = sent.zeroPages
    ram.normal = sent.dataPages
    ram.normalBytes = sent.dataPages * 4096
    ram.dirtyPagesRate = now.dirtyPagesPerSecond
    ram.mbps = byteMeter.rate(wire) * 8 / 1e6
    ram.pagesPerSecond = pageMeter.rate(sent.donePages)
    ram.dirtySyncCount = now.syncCount
    ram.precopyBytes = now.wireAtPause > 0 ? now.wireAtPause : wire
    ram.downtimeBytes = now.wireAtPause > 0 ? wire - now.wireAtPause : 0
    return MigrationStatistics(
      status: clock.phase, totalTime: seconds.total * 1000,
      setupTime: (seconds.setup + seconds.reservation) * 1000, downtime: now.downtime?.milliseconds,
      expectedDowntime: now.expectedDowntime.map { Double($0) / 1e6 }, ram: ram, xbzrleCache: .init(sent),
      peer: "\(configuration.endpoint)",
      pages: .init(total: memory.blocks.pageCount, notRead: now.notReadPages, sent), codecs: sent.codecs,
      lanes: sent.lanes.map {
        .init(
          reading: Double($0.reading) / active, encoding: Double($0.encoding) / active,
          blocked: Double($0.blocked) / active)
      }, iteration: now.current ?? now.iterations.last, downtimeParts: now.downtime,
      convergence: guest.dirtyLog == nil ? nil : .init(now, settings: settings, seconds: seconds.total),
      throttlePercentage: now.throttle.percent > 0 ? now.throttle.percent : nil,
      channels: now.pipeline?.channelCountInUse ?? configuration.channelCount)
  }

  func report(_ outcome: Phase) -> MigrationReport {
    let now = record.now
    let sent = now.pipeline?.statistics ?? SendingStatistics()
    let seconds = clock.seconds
    let wire = now.wireBytes
    let found = guest.dirtyLog == nil ? now.pipeline?.digests ?? [] : now.digests
    let digests = outcome == .completed && verifies ? found : []
    return MigrationReport(
      role: .source, outcome: outcome, session: "\(identity)", peer: "\(configuration.endpoint)",
      blocks: memory.blocks.blocks.enumerated().map { index, block in
        .init(
          name: block.name, guestPhysicalBase: block.guestPhysicalBase, byteCount: block.byteCount,
          digest: digests.isEmpty ? nil : "\(digests[index])")
      },
      pages: .init(total: memory.blocks.pageCount, notRead: now.notReadPages, sent),
      bytes: .init(
        guest: memory.blocks.byteCount, wire: wire,
        guestPerSecond: Double(memory.blocks.byteCount) / max(seconds.total, 1e-9),
        wirePerSecond: Double(wire) / max(seconds.active, 1e-9)),
      seconds: seconds,
      codec: .init(configuration.codec, sent),
      channels: now.pipeline?.channelCountInUse ?? configuration.channelCount, lanes: configuration.laneCount,
      resources: .current(
        cpuNanoseconds: clock.cpuNanoseconds,
        bufferBytes: now.pipeline?.ringByteCount ?? 0,
        historyBytes: sent.usesHistory(configuration.codec) ? configuration.laneCount << Int(historyLog) : 0,
        memoryNanoseconds: sent.snapshotNanoseconds,
        blockedNanoseconds: sent.blockedNanoseconds),
      live: guest.dirtyLog.map { log in
        .init(
          tracking: log.method, downtime: now.downtime, iterations: now.iterations,
          deltaCache: .init(sent), guestIs: whereabouts(outcome, now),
          expectedDowntime: now.downtime == nil ? nil : now.expectedDowntime.map { Double($0) / 1e6 },
          verdict: outcome == .completed ? nil : now.verdictSentence,
          meanThrottle: now.throttle.mean(at: HostClock.now(), over: UInt64(seconds.total * 1e9)),
          highestThrottle: now.throttle.highest)
      }, placement: now.pipeline.map { .init($0.placement) },
      zeroCopy: guest.dirtyLog == nil ? now.pipeline?.zeroCopyUse : nil)
  }

  /// Where the guest runs, as far as this side knows.
  private func whereabouts(_ outcome: Phase, _ now: SourceRecord.State) -> MigrationReport.Whereabouts {
    if outcome == .completed { return .atDestination }
    return now.pausedAt == nil ? .atSource : .pausedAtSource
  }
}

extension MigrationStatistics.Convergence {
  init(_ now: SourceRecord.State, settings: MigrationSettings, seconds: Double) {
    let (reading, verdict) = (now.reading, now.verdict)
    self.init(
      verdict: verdict.kind.rawValue, advice: now.verdictSentence, dirtyRate: reading.dirtyRate,
      wireRate: reading.wireRate, transferRate: reading.expectedTransferRate, hotRatio: reading.hotRatio,
      workingSet: reading.workingSet, timeToConverge: verdict.timeToConverge.map { $0 * 1000 },
      reachableDowntime: verdict.reachableDowntime.map { $0 * 1000 },
      neededThrottle: verdict.neededThrottle.map { $0 * 100 }, neededBandwidth: verdict.neededBandwidth,
      meanThrottle: now.throttle.mean(at: HostClock.now(), over: UInt64(seconds * 1e9)),
      highestThrottle: now.throttle.highest, downtimeLimit: Double(now.allowedDowntime) / 1e6,
      isPaused: now.pausedAt != nil && !now.isHandingOver, holds: settings.holds)
  }
}
