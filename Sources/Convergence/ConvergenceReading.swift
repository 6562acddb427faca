// SPDX-License-Identifier: Apache-2.0

/// What is measured of a migration at one moment: all that policies and the verdict go by.
///
/// Rates are bytes of guest memory per second unless they say otherwise; times are seconds.
public struct ConvergenceReading: Sendable, Equatable {
  /// What the guest writes, with the throttle that it has now; nil before it is known.
  public var dirtyRate: Double?
  /// Bytes per second that the link carries while it has something to carry, as the destination acknowledged them;
  /// nil before it is known.
  public var wireRate: Double?
  /// Bytes of guest memory per byte on the wire, of pages that are sent again.
  public var hotRatio: Double
  /// How fast pages that are sent again are dealt with, whatever the limit is: link, codec, destination; nil before it
  /// is known.
  public var transferRate: Double?
  /// Pages that were written lately, in bytes.
  public var workingSet: Double
  /// Share of its time that the guest may not run, 0 to 0.99.
  public var throttle: Double
  /// Guest memory that is pending, in bytes.
  public var pending: Double
  /// What a downtime takes without any page.
  public var fixedDowntime: Double
  public var downtimeLimit: Double

  public init(
    dirtyRate: Double? = nil, wireRate: Double? = nil, hotRatio: Double = 1, transferRate: Double? = nil,
    workingSet: Double = 0, throttle: Double = 0, pending: Double = 0, fixedDowntime: Double = 0,
    downtimeLimit: Double = 0.3
  ) {
    self.dirtyRate = dirtyRate
    self.wireRate = wireRate
    self.hotRatio = hotRatio
    self.transferRate = transferRate
    self.workingSet = workingSet
    self.throttle = throttle
    self.pending = pending
    self.fixedDowntime = fixedDowntime
    self.downtimeLimit = downtimeLimit
  }

  /// What the guest would write at full speed.
  public var unthrottledDirtyRate: Double? { dirtyRate.map { $0 / max(0.01, 1 - throttle) } }

  /// How fast pages are dealt with: as measured, or what the link would carry.
  public var expectedTransferRate: Double? { transferRate ?? wireRate.map { $0 * hotRatio } }
}
