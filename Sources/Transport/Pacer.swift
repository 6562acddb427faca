// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Synchronization

/// Holds all channels of a session together to a bandwidth limit, which may change at any time.
///
/// Lock-free: each sender books the time that its bytes take at the limit, and sleeps until its booking begins. What was
/// not used for want of a CPU is caught up later: up to 10 ms of it at once, and up to 50 ms at a tenth more than the
/// limit, so that stalls cost no bandwidth, a second never carries a twentieth too much, and bursts stay small. Senders
/// book at most ``pieceByteCount(of:)`` at a time, so that a second carries what it should at any limit.
public final class Pacer: Sendable {
  /// Unused time that may be caught up at once, and in all.
  private static let burstNanoseconds: UInt64 = 10_000_000
  private static let catchUpNanoseconds: UInt64 = 50_000_000
  /// How much faster than the limit, meanwhile.
  private static let catchUpSpeed = 1.1
  /// What a booking takes at most, and the least that is worth a write.
  private static let pieceNanoseconds = 1e7
  private static let pieceByteCountMin = 4096
  /// Longest sleep without a look at whether something has changed.
  private static let lookNanoseconds: UInt64 = 20_000_000

  private let bytesPerSecond: Atomic<UInt64>
  /// Until when time is booked at the limit, and at the speed of catching up.
  private let bookedUntil = Atomic<UInt64>(0)
  private let hurriedUntil = Atomic<UInt64>(0)
  /// Grows with each change of the limit: bookings at another are void.
  private let generation = Atomic<UInt64>(0)

  /// - Parameter bytesPerSecond: 0 for no limit.
  public init(bytesPerSecond: UInt64) { self.bytesPerSecond = Atomic(bytesPerSecond) }

  /// The limit; 0 for none.
  public var limit: UInt64 { bytesPerSecond.load(ordering: .relaxed) }

  /// Whether there is a limit.
  public var isLimited: Bool { limit > 0 }

  /// Changes the limit; senders that wait for their booking book anew.
  public func set(bytesPerSecond rate: UInt64) {
    guard bytesPerSecond.exchange(rate, ordering: .relaxed) != rate else { return }
    bookedUntil.store(0, ordering: .relaxed)
    hurriedUntil.store(0, ordering: .relaxed)
    generation.add(1, ordering: .releasing)
  }

  /// How many of `byteCount` bytes are sent in one go.
  public func pieceByteCount(of byteCount: Int) -> Int {
    let rate = limit
    guard rate > 0 else { return byteCount }
    return min(byteCount, max(Self.pieceByteCountMin, Int(Double(rate) * Self.pieceNanoseconds / 1e9)))
  }

  /// Waits until `byteCount` bytes may be sent.
  /// - Parameter isCancelled: looked at at least every 20 ms.
  /// - Returns: nanoseconds that it took.
  @discardableResult public func wait(byteCount: Int, isCancelled: () -> Bool) -> UInt64 {
    guard isLimited else { return 0 }
    let began = HostClock.now()
    var now = began
    while true {
      let booked = generation.load(ordering: .acquiring)
      let start = book(byteCount)
      while start > now, !isCancelled(), generation.load(ordering: .relaxed) == booked {
        HostClock.sleep(nanoseconds: min(start - now, Self.lookNanoseconds))
        now = HostClock.now()
      }
      if start <= now || isCancelled() { return now - began }
    }
  }

  /// Books the time that bytes take.
  /// - Returns: when it begins, on the monotonic clock.
  private func book(_ byteCount: Int) -> UInt64 {
    let rate = limit
    guard rate > 0 else { return 0 }
    let now = HostClock.now()
    let duration = Double(byteCount) * 1e9 / Double(rate)
    return max(
      Self.book(bookedUntil, UInt64(duration), notBefore: now - Self.catchUpNanoseconds),
      Self.book(hurriedUntil, UInt64(duration / Self.catchUpSpeed), notBefore: now - Self.burstNanoseconds))
  }

  /// Books `duration` after what is booked.
  private static func book(
    _ until: borrowing Atomic<UInt64>, _ duration: UInt64, notBefore earliest: UInt64
  ) -> UInt64 {
    var booked = until.load(ordering: .relaxed)
    while true {
      let start = max(booked, earliest)
      let (exchanged, found) = until.weakCompareExchange(
        expected: booked, desired: start + duration, ordering: .relaxed)
      if exchanged { return start }
      booked = found
    }
  }
}
