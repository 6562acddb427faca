// SPDX-License-Identifier: Apache-2.0
import Glibc

/// How much the link carries while it has something to carry.
///
/// By what the destination has acknowledged: what a socket's buffer has taken is not at the destination. Time in which the
/// link was idle (zero pages, syncs, a slow codec) does not count: or a source that has just looked at zeros for a second
/// would think that its link is slow. An exponentially weighted mean over busy time.
struct WireMeter {
  /// Seconds of busy time after which a measurement counts for a third.
  private static let memory = 1.0
  /// Less busy time than this says little, as a share of the time and in seconds.
  private static let busyShareMin = 0.2
  private static let busyMin = 0.02
  /// A link that carries nothing is taken to carry this, in bytes per second: what is divided by a rate stays a number.
  private static let rateMin = 1000.0

  /// What is known at an acknowledgement.
  struct Reading: Equatable {
    /// Nanoseconds on the monotonic clock.
    var at: UInt64
    /// Bytes that have arrived at the destination, all data channels.
    var bytes: UInt64
    /// Nanoseconds that the busiest channel had data on the way, or was held back by the bandwidth limit; nil: unknown.
    var busy: UInt64?
  }

  private var last: Reading?
  /// Bytes per second; nil before anything was measured.
  private(set) var rate: Double?

  /// Notes an acknowledgement.
  mutating func note(_ reading: Reading) {
    guard let before = last else {
      last = reading
      return
    }
    guard reading.at > before.at, reading.bytes >= before.bytes else { return }
    let elapsed = Double(reading.at - before.at) / 1e9
    var busy = elapsed
    if let now = reading.busy, let then = before.busy { busy = min(elapsed, Double(now - min(now, then)) / 1e9) }
    // Acknowledgements come in bunches: too short a time is added to the next.
    guard elapsed >= 0.05 else { return }
    last = reading
    guard busy >= Self.busyMin, busy >= elapsed * Self.busyShareMin else { return }
    let sample = Double(reading.bytes - before.bytes) / busy
    let weight = 1 - exp(-busy / Self.memory)
    rate = max(Self.rateMin, rate.map { $0 + (sample - $0) * weight } ?? sample)
  }

  /// The limit was changed: what was measured before says nothing.
  mutating func restart() { rate = nil }
}
