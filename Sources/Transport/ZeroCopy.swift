// SPDX-License-Identifier: Apache-2.0
import CHostSystem
import Glibc
import HostSystem
import Synchronization
import SystemPackage

/// Sends the lasting parts of vectors on one connection without the kernel's copy (MSG_ZEROCOPY).
///
/// Parts are lasting if nobody writes them until ``finish()`` has returned: the network card reads them when it likes, and
/// again when a segment was lost. What saves the copy costs pinning pages and taking completions, and on the way to a
/// peer on the same host the kernel copies in any case. So it is tried, and measured, before it is kept.
///
/// io_uring's send_zc is not used: it rests on the same mechanism of the kernel, took 1.6 to 2.3 times the CPU time of
/// plain sends over loopback and veth, and would need a ring for each channel, for no gain.
///
/// Belongs to who sends on the connection; ``use`` may be read from any thread.
public final class ZeroCopy {
  private enum Phase {
    /// The trial: first with the copy, then without.
    case tryingCopy, tryingZeroCopy
    case on
    case off
  }

  /// Completions are looked for when more sends than this are outstanding: each holds a piece of the socket's
  /// option memory (optmem_max is 20 KiB on many hosts, enough for some 30).
  private static let outstandingCountMax = 16
  /// What ``finish()`` waits for them at most: all was sent, and mostly all was acknowledged.
  private static let patience = Duration.seconds(1)
  /// So many times that no send was taken, and none ever: what may be pinned is less than one.
  private static let fallbackCountMax = 16
  /// A trial has to save a tenth.
  private static let worthwhileShare = 0.9

  private let connection: Connection
  private let options: ZeroCopyOptions
  private var phase: Phase
  private var ledger = ZeroCopyLedger()
  private var withCopy = Cost()
  private var without = Cost()
  private let state = Mutex(ZeroCopyUse())

  private struct Cost {
    var nanoseconds: UInt64 = 0
    var byteCount = 0
    var perByte: Double { Double(nanoseconds) / Double(max(1, byteCount)) }

    /// - Parameter started: when, by the thread's CPU clock.
    mutating func add(since started: UInt64, _ taken: Int = 0) {
      nanoseconds += HostClock.threadCPU() - started
      byteCount += max(0, taken)
    }
  }

  /// - Returns: nil if `options` rule it out for this connection.
  public init?(_ connection: Connection, _ options: ZeroCopyOptions) {
    switch options.mode {
    case .off: return nil
    case .automatic where connection.isLocal && !options.triesLocalPeers: return nil
    case .automatic: phase = .tryingCopy
    case .on: phase = .on
    }
    self.connection = connection
    self.options = options
    if phase == .on { enable(.on) }
  }

  /// What came of it so far.
  public var use: ZeroCopyUse { state.withLock { $0 } }

  /// Sends some of what remains in `vector`: bytes taken, or a negated errno.
  func transmit(_ vector: IOVector, waits: Bool) -> Int {
    guard phase != .off, vector.hasLasting else {
      return vector.transmit(on: connection.descriptor, waits: waits)
    }
    if phase == .on { return transmitAlike(vector, waits: waits) }
    let isWithCopy = phase == .tryingCopy
    let started = HostClock.threadCPU()
    let taken =
      isWithCopy
      ? vector.transmit(on: connection.descriptor, waits: waits) : transmitAlike(vector, waits: waits)
    if isWithCopy { withCopy.add(since: started, taken) } else { without.add(since: started, taken) }
    // The end of a vector is the end of a measurement: halves of it do not cost the same.
    if max(0, taken) == vector.remainingByteCount { goOn() }
    return taken
  }

  /// Takes the trial a step further, if enough was sent.
  private func goOn() {
    switch phase {
    case .tryingCopy where withCopy.byteCount >= options.trialByteCount: enable(.tryingZeroCopy)
    case .tryingZeroCopy where without.byteCount >= options.trialByteCount:
      let started = HostClock.threadCPU()
      takeCompletions()
      without.add(since: started)
      // They may just have ended it.
      guard phase == .tryingZeroCopy else { return }
      let isWorthwhile = without.perByte <= withCopy.perByte * Self.worthwhileShare
      phase = isWorthwhile ? .on : .off
      state.withLock { $0.outcome = isWorthwhile ? .kept : .notCheaper }
    default: break
    }
  }

  private func enable(_ next: Phase) {
    let result = hs_socket_enable_zero_copy(connection.descriptor)
    phase = result == 0 ? next : .off
    let outcome: ZeroCopyUse.Outcome = result != 0 ? .refused : next == .on ? .kept : .undecided
    state.withLock { $0.outcome = outcome }
  }

  private func transmitAlike(_ vector: IOVector, waits: Bool) -> Int {
    let isLasting = vector.isNextLasting
    let descriptor = connection.descriptor
    let taken = vector.transmitAlike(on: descriptor, waits: waits, zeroCopy: isLasting)
    guard isLasting else { return taken }
    if taken == -Int(ENOBUFS) {
      let isHopeless = state.withLock { use in
        use.fallbacks += 1
        guard use.sends == 0, use.fallbacks >= Self.fallbackCountMax else { return false }
        use.outcome = .refused
        return true
      }
      if isHopeless { phase = .off }
      takeCompletions()
      return vector.transmitAlike(on: descriptor, waits: waits, zeroCopy: false)
    }
    guard taken > 0 else { return taken }
    ledger.noteSend()
    state.withLock { use in
      use.sends += 1
      use.bytes += UInt64(taken)
    }
    if ledger.outstanding > Self.outstandingCountMax { takeCompletions() }
    return taken
  }

  /// Takes the completions that are there.
  /// - Returns: whether there was one.
  @discardableResult private func takeCompletions() -> Bool {
    var (first, last, copied): (UInt32, UInt32, Bool) = (0, 0, false)
    var found = false
    while ledger.outstanding > 0 {
      let result = unsafe hs_socket_take_completion(connection.descriptor, &first, &last, &copied)
      if result == -ENOMSG || result == -EINTR { continue }
      guard result == 0 else { break }
      let count = ledger.noteDone(first: first, last: last)
      found = true
      guard copied, count > 0 else { continue }
      state.withLock { use in
        use.copiedAnyway += UInt64(count)
        use.outcome = .copiedByKernel
      }
      // Once told, for good: the way to the peer does not change.
      if options.mode == .automatic { phase = .off }
    }
    return found
  }

  /// Waits until the kernel has let go of all that was sent without a copy: at most a second, and not on a connection
  /// that was shut down. Afterwards nothing more may be sent.
  /// - Returns: sends whose completion did not come. Their pages may be freed, the kernel keeps them; what it sends again
  ///   is what they hold then.
  @discardableResult public func finish() -> Int {
    let deadline = HostClock.now() + Self.patience.nanoseconds
    takeCompletions()
    while ledger.outstanding > 0, !connection.stopped.load(ordering: .relaxed), HostClock.now() < deadline {
      // A queue of errors that is not empty is what POLLERR says, asked for or not.
      var wait = pollfd(fd: connection.descriptor, events: 0, revents: 0)
      let isReady = unsafe poll(&wait, 1, 50) > 0
      // Ready, and there is none: the connection has ended.
      if !takeCompletions(), isReady { break }
    }
    phase = .off
    return ledger.outstanding
  }
}
