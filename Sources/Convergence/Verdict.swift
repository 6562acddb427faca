// SPDX-License-Identifier: Apache-2.0
import PageModel

/// Whether a migration will end, and if not, exactly why, and what would make it.
public struct Verdict: Sendable, Equatable {
  public enum Kind: String, Sendable, Codable, CaseIterable {
    /// Too little is known yet.
    case measuring
    case converging
    /// It does not at the moment, but a policy has not used all its means.
    case stalled
    case cannotConverge = "cannot-converge"
  }

  public var kind: Kind
  /// Seconds until the guest can be paused, if that can be said.
  public var timeToConverge: Double?
  /// The downtime that is left when iterations stop getting better, in seconds.
  public var reachableDowntime: Double?
  /// What would do, each by itself: a throttle (share of the guest's time), and this many times the bandwidth.
  public var neededThrottle: Double?
  public var neededBandwidth: Double?

  public init(kind: Kind) { self.kind = kind }

  /// - Parameter policy: what may still be done about it.
  public init(_ reading: ConvergenceReading, policy: ConvergencePolicy) {
    guard let dirty = reading.dirtyRate, let transfer = reading.expectedTransferRate, transfer > 0,
      let unthrottled = reading.unthrottledDirtyRate
    else {
      self.init(kind: .measuring)
      return
    }
    self.init(kind: .converging)
    // What may be left when the guest is paused.
    let room = max(0, reading.downtimeLimit - reading.fixedDowntime) * transfer
    let plateau = Plateau(dirtyRate: dirty, transferRate: transfer, workingSet: reading.workingSet).left
    reachableDowntime = plateau / transfer + reading.fixedDowntime
    if plateau <= room {
      timeToConverge = Self.time(reading, dirty: dirty, transfer: transfer, room: room)
      return
    }
    kind = policy.throttles && reading.throttle < 0.985 ? .stalled : .cannotConverge
    // The dirty rate whose plateau just fits.
    let ratio = Plateau.ratio(leaving: min(1, room / reading.workingSet))
    neededThrottle = max(0, 1 - ratio * transfer / unthrottled)
    neededBandwidth = Self.bandwidth(reading, dirty: dirty, transfer: transfer)
  }

  /// How many times the bandwidth makes the plateau fit: more of it makes the plateau lower and the room larger.
  private static func bandwidth(_ reading: ConvergenceReading, dirty: Double, transfer: Double) -> Double {
    let time = max(0, reading.downtimeLimit - reading.fixedDowntime)
    // W(1 − T/r) = T · time.
    return reading.workingSet / (time + reading.workingSet / dirty) / transfer
  }

  /// Iterations after which nobody waits for an end.
  private static let iterationMax = 300

  /// Seconds until what is left fits.
  private static func time(_ reading: ConvergenceReading, dirty: Double, transfer: Double, room: Double) -> Double? {
    let page = Double(PageGeometry.pageByteCount)
    let curve = DirtyCurve.random(pagesPerSecond: dirty / page, workingSet: reading.workingSet / page)
    var left = reading.pending
    var seconds = 0.0
    var walk = left / transfer
    for _ in 0..<iterationMax where left > room {
      let duration = walk + reading.fixedDowntime / 2
      seconds += duration
      left = curve.meanPages(in: duration) * page
      // A page is looked at again about as long after the last time as a walk takes.
      walk = curve.pages(in: duration) * page / transfer
    }
    return left <= room ? seconds : nil
  }
}

extension Verdict {
  /// One line for people: what is, and what would help.
  public func sentence(_ reading: ConvergenceReading) -> String {
    switch kind {
    case .measuring: return "measuring"
    case .converging:
      guard let timeToConverge else { return "converging" }
      return "converging: about \(Decimal.fixed(timeToConverge, digits: timeToConverge < 10 ? 1 : 0)) s to go"
    case .stalled:
      return "stalled: \(rates(reading)); throttled by \(percent(reading.throttle)), needs ~"
        + "\(percent(neededThrottle ?? 0)), the policy goes on"
    case .cannotConverge:
      return "cannot converge: \(rates(reading)); needs a throttle of ~\(percent(neededThrottle ?? 0)), or "
        + "\(Decimal.fixed(neededBandwidth ?? 0, digits: 1))x the bandwidth, or a downtime of "
        + "\(Decimal.fixed(reachableDowntime ?? 0, digits: 1)) s"
    }
  }

  private func rates(_ reading: ConvergenceReading) -> String {
    "dirty \(megabytes(reading.dirtyRate ?? 0)) MB/s against \(megabytes(reading.expectedTransferRate ?? 0)) MB/s"
  }

  private func megabytes(_ rate: Double) -> String { Decimal.fixed(rate / 1e6, digits: rate < 1e7 ? 1 : 0) }

  private func percent(_ share: Double) -> String { "\(Int((share * 100).rounded())) %" }
}
