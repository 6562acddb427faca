// SPDX-License-Identifier: Apache-2.0
import Glibc
import HostSystem
import Synchronization

/// How much of a hypervisor's stream is under way: taken from the source's, not yet with the destination's.
///
/// A hypervisor judges by the rate at which its bytes are taken: what the downtime will be, whether its guest must be
/// throttled. What waits here is hidden from it, and makes the downtime longer by the time that it takes. So no more is
/// taken than the way holds, plus a little: the fastest rate of late, times the round trip and 30 ms. Late is a fifth of a
/// second, or some round trips: what was fast because it was deltas must not be the measure for pages that follow whole,
/// or they wait here when the guest is stopped.
final class RelayWindow: Sendable {
  /// What is taken before anything is known, and in any case; and the most.
  private static let begin = 256 << 10
  private static let least = 64 << 10
  private static let most = 256 << 20
  /// Seconds of bytes that wait somewhere so that no stage ever runs dry.
  private static let slack = 0.03
  /// More than was measured: or it could never grow.
  private static let gain = 1.25
  /// A rate is measured over so long, and remembered for so long, or so many round trips; nanoseconds.
  private static let sampleNanoseconds: UInt64 = 50_000_000
  private static let memoryNanoseconds: UInt64 = 200_000_000
  private static let memoryRoundTrips = 4.0

  private struct State {
    var taken: UInt64 = 0
    var confirmed: UInt64 = 0
    var limit = begin
    /// What was taken and rests with one who waits for others: it does not keep them from taking more.
    var resting = 0
    var isStopped = false
    var sampleAt: UInt64 = 0
    var sampleFrom: UInt64 = 0
    var confirmedAt: UInt64 = 0
    /// Rates of late, oldest first.
    var rates: [(at: UInt64, bytesPerSecond: Double)] = []
    var highest = 0
    /// In seconds.
    var roundTrip = 0.0

    mutating func take(_ byteCount: Int) {
      let now = HostClock.now()
      // Nothing was under way for long: that time says nothing.
      if taken == confirmed, now - confirmedAt > RelayWindow.sampleNanoseconds {
        (sampleAt, sampleFrom) = (now, confirmed)
      }
      taken += UInt64(byteCount)
    }

    var room: Int { limit + resting - Int(clamping: taken - confirmed) }
  }

  /// For how long nothing could be taken, in nanoseconds.
  let stalledNanoseconds = Atomic<UInt64>(0)
  private let state = Mutex(State())
  private let room = ParkingSpot()

  /// The peer's answer takes so many nanoseconds.
  func set(roundTrip: UInt64) { state.withLock { $0.roundTrip = min(10, Double(roundTrip) / 1e9) } }

  /// Waits until something may be taken.
  /// - Returns: how many bytes, at most `wanted`; 0 once it was stopped.
  func awaitRoom(_ wanted: Int) -> Int {
    var free = 0
    func look() -> Bool {
      state.withLock { state in
        free = state.isStopped ? 0 : min(wanted, state.room)
        return free > 0 || state.isStopped
      }
    }
    if !look() {
      let started = HostClock.now()
      _ = room.wait { look() }
      stalledNanoseconds.add(HostClock.now() - started, ordering: .relaxed)
    }
    return max(0, free)
  }

  /// Bytes were taken from the source.
  func note(taken byteCount: Int) {
    state.withLock { state in
      state.take(byteCount)
      state.highest = max(state.highest, Int(clamping: state.taken - state.confirmed))
    }
  }

  /// Takes room beforehand, for one of several that read: waits until there is some.
  /// - Parameter least: bytes that are given in any case.
  /// - Returns: how many bytes, at most `wanted`; 0 once it was stopped. What is not used is to be given back.
  func claim(_ wanted: Int, atLeast least: Int) -> Int {
    var given = 0
    _ = room.wait {
      self.state.withLock { state in
        given = state.isStopped ? 0 : max(0, min(wanted, max(least, state.room)))
        if given > 0 { state.take(given) }
        return given > 0 || state.isStopped
      }
    }
    return given
  }

  /// One who has taken so much, and cannot go on with it, waits for others, until `body` returns.
  func rest<Failure: Error>(_ byteCount: Int, _ body: () throws(Failure) -> Void) throws(Failure) {
    state.withLock { $0.resting += byteCount }
    room.wake()
    defer { state.withLock { $0.resting -= byteCount } }
    try body()
  }

  /// So much was claimed and not read.
  func giveBack(_ byteCount: Int) {
    state.withLock { state in
      state.taken -= UInt64(byteCount)
      state.highest = max(state.highest, Int(clamping: state.taken - state.confirmed))
    }
    if byteCount > 0 { room.wake() }
  }

  /// Everything before `position` in the stream is with the destination.
  func confirm(upTo position: UInt64) {
    state.withLock { state in
      // Not before: others would have taken later times meanwhile.
      let now = HostClock.now()
      guard position > state.confirmed, position <= state.taken else { return }
      if state.sampleAt == 0 { (state.sampleAt, state.sampleFrom) = (now, state.confirmed) }
      (state.confirmed, state.confirmedAt) = (position, now)
      let elapsed = now - state.sampleAt
      guard elapsed >= Self.sampleNanoseconds else { return }
      let rate = Double(position - state.sampleFrom) * 1e9 / Double(elapsed)
      (state.sampleAt, state.sampleFrom) = (now, position)
      state.rates.append((now, rate))
      let memory = max(Self.memoryNanoseconds, UInt64(state.roundTrip * Self.memoryRoundTrips * 1e9))
      state.rates.removeAll { now - $0.at > memory }
      let fastest = state.rates.reduce(0) { max($0, $1.bytesPerSecond) }
      let wanted = fastest * (state.roundTrip + Self.slack) * Self.gain
      state.limit = min(Self.most, max(Self.least, Int(min(1e12, wanted))))
    }
    room.wake()
  }

  /// Nothing is taken any more.
  func stop() {
    state.withLock { $0.isStopped = true }
    room.wake()
  }

  /// Bytes taken; what may be under way now, and the most that was.
  var use: (taken: UInt64, limit: Int, highest: Int) { state.withLock { ($0.taken, $0.limit, $0.highest) } }

  /// Bytes that are under way.
  var used: Int { state.withLock { Int(clamping: $0.taken - $0.confirmed) } }

  /// Bytes per second that were confirmed lately; nil before it is known.
  var rate: Double? { state.withLock { $0.rates.last?.bytesPerSecond } }
}
