// SPDX-License-Identifier: Apache-2.0

/// Holds what a guest writes at a share of what is sent, with as little throttling as that takes: a closed loop.
///
/// The guest's rate at full speed follows from what it writes now and how much it is throttled; the throttle that brings
/// it to its share follows from that. A guest that does not slow down in proportion (it had time to spare) looks faster at
/// the next look, and is throttled more, until it does; one that slows down on its own is given back.
public struct DirtyLimit: Sendable, Equatable {
  public struct Parameters: Sendable, Codable, Equatable {
    /// What may be written, per what is sent.
    public var fraction = 0.85
    /// The most throttle, in percent.
    public var limit = 99

    public init() {}
  }

  /// Seconds between two looks.
  public static let period = 0.25
  /// How much of the way to the aim a look goes: a measurement of a quarter of a second is not all of the truth.
  private static let gain = 0.5

  public init() {}

  /// - Returns: the throttle from now on, as a share of the guest's time; nil: not enough is known.
  public func look(_ reading: ConvergenceReading, _ parameters: Parameters) -> Double? {
    guard let unthrottled = reading.unthrottledDirtyRate, let transfer = reading.expectedTransferRate else {
      return nil
    }
    let allowed = transfer * parameters.fraction
    let aim = unthrottled > allowed ? 1 - allowed / unthrottled : 0
    let next = reading.throttle + (aim - reading.throttle) * Self.gain
    return min(max(0, next), Double(parameters.limit) / 100)
  }
}
