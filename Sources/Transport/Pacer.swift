// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Synchronization

/// Holds all channels of a session together to a bandwidth limit.
///
/// Lock-free: each sender books the time that its bytes take at the limit, and sleeps until its booking begins. Up
/// to 10 ms of unused time may be caught up, so that a late wake-up costs no bandwidth and bursts stay small.
public final class Pacer: Sendable {
  private static let burstNanoseconds: UInt64 = 10_000_000

  private let bytesPerSecond: Atomic<UInt64>
  private let bookedUntil = Atomic<UInt64>(0)

  /// - Parameter bytesPerSecond: 0 for no limit.
  public init(bytesPerSecond: UInt64) { self.bytesPerSecond = Atomic(bytesPerSecond) }

  /// Whether there is a limit.
  public var isLimited: Bool { bytesPerSecond.load(ordering: .relaxed) > 0 }

  /// Waits until `byteCount` bytes may be sent.
  /// - Parameter isCancelled: looked at at least every 50 ms.
  /// - Returns: nanoseconds that it took.
  @discardableResult public func wait(byteCount: Int, isCancelled: () -> Bool) -> UInt64 {
    let rate = bytesPerSecond.load(ordering: .relaxed)
    guard rate > 0 else { return 0 }
    let duration = UInt64(Double(byteCount) * 1e9 / Double(rate))
    var booked = bookedUntil.load(ordering: .relaxed)
    var start: UInt64
    while true {
      start = max(booked, HostClock.now() - Self.burstNanoseconds)
      let (exchanged, found) = bookedUntil.weakCompareExchange(
        expected: booked, desired: start + duration, ordering: .relaxed)
      if exchanged { break }
      booked = found
    }
    let began = HostClock.now()
    var now = began
    while start > now, !isCancelled() {
      HostClock.sleep(nanoseconds: min(start - now, 50_000_000))
      now = HostClock.now()
    }
    return now - began
  }
}
