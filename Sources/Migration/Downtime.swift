// SPDX-License-Identifier: Apache-2.0

/// From the guest's pause at the source to its resume at the destination, and where the time went.
///
/// Clocks of two hosts do not agree, and none is compared with the other: the source measures from the pause until it
/// hears that the guest runs, and the destination adds how long its own steps took. The way back of that last message
/// is in the total, so the guest was down for a little less than this says, never for more.
public struct Downtime: Sendable, Codable, Equatable {
  /// All of it, by the source's clock.
  public var milliseconds: Double
  /// Until the guest had stopped.
  public var pause: Double
  /// The last look at the dirty log.
  public var sync: Double
  /// From then until the destination had everything and could run the guest: the last pages, the guest state, and the
  /// two parts below.
  public var transfer: Double
  /// Of which the guest state: saving it here, loading it there.
  public var state: Double
  /// Of which comparing memory, if that was asked for.
  public var verify: Double
  /// Commit and answer on the wire.
  public var commit: Double
  /// At the destination, from the commit until the guest ran.
  public var resume: Double
  /// Pages that were sent during it, and bytes of all channels.
  public var pages: UInt64
  public var bytes: UInt64
}
