// SPDX-License-Identifier: Apache-2.0
import Convergence
import HostSystem
public import Migration
import PageCodecs

/// One value of a metric, as it is now.
public struct MetricSample: Sendable, Equatable {
  public var metric: Metric
  /// Beside those of the session.
  public var labels: [Label]
  public var value: Double

  public struct Label: Sendable, Hashable {
    public var name: String
    public var value: String

    public init(_ name: String, _ value: String) {
      self.name = name
      self.value = value
    }
  }

  public init(_ metric: Metric, _ value: Double, _ labels: [Label] = []) {
    self.metric = metric
    self.labels = labels
    self.value = value
  }

  /// Everything that `now` says. What is not known is left out.
  /// - Parameter settings: of the source's side.
  public static func all(_ now: MigrationStatistics, settings: MigrationSettings? = nil) -> [MetricSample] {
    states(now) + memory(now) + rates(now, settings)
      + (now.convergence.map { steering($0, allowed: now.allowedDowntime(settings)) } ?? [])
      + downtime(now) + (now.xbzrleCache.map(cache) ?? []) + codecs(now) + lanes(now)
      + (now.relay.map(relay) ?? [])
  }

  /// The first of `labels` of the metric is `label`.
  private static func one(_ metric: Metric, _ value: Double?, _ label: String? = nil) -> [MetricSample] {
    guard let value, value.isFinite else { return [] }
    return [MetricSample(metric, value, label.map { [.init(metric.labels[0], $0)] } ?? [])]
  }

  private static func states(_ now: MigrationStatistics) -> [MetricSample] {
    let phases = Phase.allCases.flatMap { one(.phase, $0 == now.status ? 1 : 0, $0.rawValue) }
    guard let verdict = now.convergence?.verdict else { return phases }
    return phases + Verdict.Kind.allCases.flatMap { one(.verdict, $0.rawValue == verdict ? 1 : 0, $0.rawValue) }
  }

  private static func memory(_ now: MigrationStatistics) -> [MetricSample] {
    let pages = now.pages
    let isRelay = now.relay != nil
    let kinds =
      [("zero", pages.zero), ("data", pages.data), ("delta", pages.delta), ("unchanged", pages.unchanged)]
      + (isRelay ? [] : [("deferred", pages.deferred), ("not_read", pages.notRead)])
    return one(.elapsed, now.totalTime / 1000) + one(.setup, now.setupTime / 1000)
      + one(.memory, Double(now.ram.total)) + one(.memoryRemaining, now.remainingBytes)
      + kinds.flatMap { one(.pages, Double($1), $0) } + one(.wire, Double(now.ram.transferred))
      + one(.iterations, now.relay.map { Double($0.iterations) } ?? Double(now.iteration?.iteration ?? 0))
      + one(.syncs, isRelay ? nil : Double(now.ram.dirtySyncCount))
  }

  private static func rates(_ now: MigrationStatistics, _ settings: MigrationSettings?) -> [MetricSample] {
    let limit = settings.map { $0.bandwidthLimit } ?? 0
    return one(.wireRate, now.ram.mbps * 1e6 / 8) + one(.bandwidthLimit, limit > 0 ? Double(limit) : nil)
      + one(.dirtyRate, now.dirtyBytesPerSecond)
  }

  private static func steering(_ now: MigrationStatistics.Convergence, allowed: Double?) -> [MetricSample] {
    one(.linkRate, now.wireRate) + one(.transferRate, now.transferRate) + one(.hotReduction, now.hotRatio)
      + one(.workingSet, now.workingSet) + one(.throttleMean, now.meanThrottle / 100)
      + one(.throttleHighest, Double(now.highestThrottle) / 100)
      + one(.throttleNeeded, now.neededThrottle.map { $0 / 100 }) + one(.bandwidthNeeded, now.neededBandwidth)
      + one(.downtimeReachable, now.reachableDowntime.map { $0 / 1000 })
      + one(.downtimeLimit, allowed.map { $0 / 1000 }) + one(.timeToConverge, now.timeToConverge.map { $0 / 1000 })
      + one(.guestPaused, now.isPaused ? 1 : 0) + one(.held, now.holds ? 1 : 0)
  }

  private static func downtime(_ now: MigrationStatistics) -> [MetricSample] {
    let throttle = now.convergence == nil ? nil : Double(now.throttlePercentage ?? 0) / 100
    return one(.throttle, throttle) + one(.downtime, now.downtime.map { $0 / 1000 })
      + one(.downtimeExpected, now.expectedDowntime.map { $0 / 1000 })
  }

  private static func cache(_ now: MigrationStatistics.DeltaCacheUse) -> [MetricSample] {
    one(.cache, Double(now.cacheSize)) + one(.cacheHits, Double(now.hits)) + one(.cacheMisses, Double(now.cacheMiss))
      + one(.cacheOverflows, Double(now.overflow)) + one(.delta, Double(now.bytes))
  }

  private static func codecs(_ now: MigrationStatistics) -> [MetricSample] {
    now.codecs.flatMap { use in
      one(.codecLanes, Double(use.lanes), use.codec) + one(.codecInput, Double(use.bytesIn), use.codec)
        + one(.codecOutput, Double(use.bytesOut), use.codec)
    }
  }

  private static func lanes(_ now: MigrationStatistics) -> [MetricSample] {
    guard !now.lanes.isEmpty else { return [] }
    let count = Double(now.lanes.count)
    func mean(_ part: (MigrationStatistics.LaneUse) -> Double) -> Double {
      now.lanes.reduce(0) { $0 + share(part($1)) } / count
    }
    return one(.laneTime, mean { $0.reading }, "reading") + one(.laneTime, mean { $0.encoding }, "encoding")
      + one(.laneTime, mean { $0.blocked }, "blocked")
      + now.lanes.enumerated().flatMap { one(.laneBlocked, share($1.blocked), "\($0)") }
  }

  private static func relay(_ now: MigrationStatistics.Relay) -> [MetricSample] {
    let modes = now.mode.map { mode in
      MigrationStatistics.Relay.Mode.allCases.flatMap { one(.relayMode, $0 == mode ? 1 : 0, $0.rawValue) }
    }
    return (modes ?? []) + one(.relayConnections, Double(now.openConnections))
      + one(.relayStream, Double(now.streamBytes)) + one(.relayStreamRate, now.streamRate)
      + one(.relayPassed, Double(now.passedBytes)) + one(.relayPages, now.receivedPages.map { Double($0) })
      + one(.relaySuperseded, now.supersededPages.map { Double($0) })
      + one(.relayWindow, now.window.map { Double($0.limit) })
      + one(.relayWindowUsed, now.window.map { Double($0.used) })
      + one(.relayWindowHighest, now.window.map { Double($0.highest) })
      + one(.relayHeld, now.heldBytes.map { Double($0) })
      + now.channelBytes.enumerated().flatMap { one(.relayChannel, Double($1), "\($0 + 1)") }
  }

  /// A share that was measured by two clocks may be a little above 1.
  private static func share(_ value: Double) -> Double { min(1, max(0, value)) }
}

extension MigrationStatistics {
  /// What the guest writes: as measured, or as the last sync saw it; nil of a guest that does not run.
  var dirtyBytesPerSecond: Double? {
    guard let convergence else { return nil }
    return convergence.dirtyRate ?? (ram.dirtySyncCount > 0 ? ram.dirtyPagesRate * Double(ram.pageSize) : nil)
  }

  /// Bytes that are still to be sent; nil before pages flow.
  var remainingBytes: Double? { lanes.isEmpty && status != .completed ? nil : ram.remaining.map { Double($0) } }

  /// The downtime that is allowed now, in ms: as of the last sync, or before there was one, as it is set.
  func allowedDowntime(_ settings: MigrationSettings?) -> Double? {
    guard let convergence else { return nil }
    if convergence.downtimeLimit > 0 { return convergence.downtimeLimit }
    return settings.map { $0.downtimeLimit.seconds * 1000 }
  }
}
