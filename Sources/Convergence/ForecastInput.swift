// SPDX-License-Identifier: Apache-2.0

/// What a ``Forecast`` is made from: a guest, a way, and what the operator allows.
///
/// Pages are of 4 KiB, times are seconds, CPU costs are those of all worker threads together on the busier side.
public struct ForecastInput: Sendable, Codable, Equatable {
  /// The guest: its memory, of which zero pages are looked at and cost nothing else, and holes cost nothing at all.
  public var memoryPages: Double
  public var zeroPages: Double
  public var holePages: Double
  /// What it writes.
  public var curve: DirtyCurve
  /// Spans that it writes to in a time; nil: as if each of its pages were as likely as any other to be the next.
  public var spanCurve: DirtyCurve?
  /// Where in memory that is, as shares of it: what is walked early and written later is sent twice.
  public var writtenFrom = 0.0
  public var writtenTo = 1.0

  /// Bytes on the wire for a page that is sent for the first time, and for one that is sent again.
  public var bulkBytesPerPage: Double
  public var hotBytesPerPage: Double
  /// Time that a page takes however fast the link is: reading, encoding, and what the other side does.
  public var bulkSecondsPerPage: Double
  public var hotSecondsPerPage: Double
  public var zeroSecondsPerPage: Double

  /// Bytes per second on the wire.
  public var linkBytesPerSecond: Double
  public var roundTripSeconds: Double
  /// What an iteration takes besides its pages and a round trip.
  public var iterationSeconds: Double
  /// Looking at the dirty log.
  public var syncSeconds: Double
  /// From the begin until pages flow.
  public var setupSeconds: Double
  /// From the log's begin until pages flow.
  public var logLeadSeconds: Double
  /// Pausing the guest, its state, and resuming it.
  public var handOverSeconds: Double

  public var downtimeLimitSeconds: Double
  public var throttling: ForecastThrottling
  /// Where a migration that does not end is given up.
  public var iterationMax: Int

  public init(
    memoryPages: Double, zeroPages: Double = 0, holePages: Double = 0, curve: DirtyCurve,
    bulkBytesPerPage: Double = 4104, hotBytesPerPage: Double = 4104, bulkSecondsPerPage: Double = 1e-6,
    hotSecondsPerPage: Double = 1.5e-6, zeroSecondsPerPage: Double = 2e-7, linkBytesPerSecond: Double,
    roundTripSeconds: Double = 0.0002, iterationSeconds: Double = 0.001, syncSeconds: Double = 0.001,
    setupSeconds: Double = 0.05, logLeadSeconds: Double = 0.02, handOverSeconds: Double = 0.001,
    downtimeLimitSeconds: Double = 0.3, throttling: ForecastThrottling = .none, iterationMax: Int = 100
  ) {
    self.memoryPages = memoryPages
    self.zeroPages = zeroPages
    self.holePages = holePages
    self.curve = curve
    self.bulkBytesPerPage = bulkBytesPerPage
    self.hotBytesPerPage = hotBytesPerPage
    self.bulkSecondsPerPage = bulkSecondsPerPage
    self.hotSecondsPerPage = hotSecondsPerPage
    self.zeroSecondsPerPage = zeroSecondsPerPage
    self.linkBytesPerSecond = linkBytesPerSecond
    self.roundTripSeconds = roundTripSeconds
    self.iterationSeconds = iterationSeconds
    self.syncSeconds = syncSeconds
    self.setupSeconds = setupSeconds
    self.logLeadSeconds = logLeadSeconds
    self.handOverSeconds = handOverSeconds
    self.downtimeLimitSeconds = downtimeLimitSeconds
    self.throttling = throttling
    self.iterationMax = iterationMax
  }

  /// Seconds that one page takes, of those sent for the first time and of those sent again.
  var bulkSeconds: Double { max(bulkBytesPerPage / linkBytesPerSecond, bulkSecondsPerPage) }
  var hotSeconds: Double { max(hotBytesPerPage / linkBytesPerSecond, hotSecondsPerPage) }
  /// An iteration without pages.
  var fixedSeconds: Double { roundTripSeconds + iterationSeconds }
}

/// How a guest that dirties too much is slowed down, in a ``Forecast``.
public enum ForecastThrottling: Sendable, Codable, Equatable {
  case none
  /// From the beginning, in percent of its time that it may not run.
  case fixed(percent: Double)
  /// As QEMU does it: when for the second time more than `trigger` percent of what an iteration sent was dirtied
  /// meanwhile, by `initial` percent first, then by `increment` more each time, up to `max`.
  case autoConverge(initial: Double = 20, increment: Double = 10, max: Double = 99, trigger: Double = 50)
  /// As much as keeps what is dirtied at `fraction` of what the way can carry, and no more.
  case dirtyLimit(fraction: Double = 0.5)
}

/// A ``ForecastThrottling`` at work.
struct ForecastThrottle {
  private let policy: ForecastThrottling
  private var alarms = 0
  /// Percent of its time that the guest may not run.
  private(set) var percent = 0.0

  /// The most that a guest is throttled.
  private static let percentMax = 99.0

  init(_ policy: ForecastThrottling) {
    self.policy = policy
    if case .fixed(let percent) = policy { self.percent = min(Self.percentMax, max(0, percent)) }
  }

  /// Whether nothing changes any more, as long as the guest goes on as it does.
  var isFinal: Bool {
    switch policy {
    case .none, .fixed: true
    case .autoConverge(_, _, let max, _): percent >= max
    case .dirtyLimit: false
    }
  }

  /// After an iteration.
  /// - Parameters:
  ///   - dirtied, sent: pages that the guest dirtied meanwhile, and that were sent.
  ///   - fullRate: pages that the guest would dirty per second in that time if it were not throttled.
  ///   - carriedRate: pages per second that can be sent.
  mutating func note(dirtied: Double, sent: Double, fullRate: Double, carriedRate: Double) {
    switch policy {
    case .none, .fixed: return
    case .autoConverge(let initial, let increment, let max, let trigger):
      guard dirtied > sent * trigger / 100 else {
        alarms = 0
        return
      }
      alarms += 1
      guard alarms >= 2 else { return }
      alarms = 0
      percent = min(max, Self.percentMax, percent == 0 ? initial : percent + increment)
    case .dirtyLimit(let fraction):
      guard fullRate > 0 else { return }
      percent = min(Self.percentMax, max(0, 100 * (1 - fraction * carriedRate / fullRate)))
    }
  }
}
