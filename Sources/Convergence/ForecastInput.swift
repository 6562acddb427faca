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
  public var steering: ForecastSteering
  /// Where a migration that does not end is given up.
  public var iterationMax: Int

  public init(
    memoryPages: Double, zeroPages: Double = 0, holePages: Double = 0, curve: DirtyCurve,
    bulkBytesPerPage: Double = 4104, hotBytesPerPage: Double = 4104, bulkSecondsPerPage: Double = 1e-6,
    hotSecondsPerPage: Double = 1.5e-6, zeroSecondsPerPage: Double = 2e-7, linkBytesPerSecond: Double,
    roundTripSeconds: Double = 0.0002, iterationSeconds: Double = 0.001, syncSeconds: Double = 0.001,
    setupSeconds: Double = 0.05, logLeadSeconds: Double = 0.02, handOverSeconds: Double = 0.001,
    downtimeLimitSeconds: Double = 0.3, steering: ForecastSteering = .init(), iterationMax: Int = 100
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
    self.steering = steering
    self.iterationMax = iterationMax
  }

  /// Seconds that one page takes, of those sent for the first time and of those sent again.
  var bulkSeconds: Double { max(bulkBytesPerPage / linkBytesPerSecond, bulkSecondsPerPage) }
  var hotSeconds: Double { max(hotBytesPerPage / linkBytesPerSecond, hotSecondsPerPage) }
  /// An iteration without pages.
  var fixedSeconds: Double { roundTripSeconds + iterationSeconds }
}
