// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Synchronization

/// A migration's phase and how long each one took. The session moves it, anyone reads.
final class PhaseClock: Sendable {
  private struct State {
    var phase = Phase.setup
    var enteredAt = HostClock.now()
    var durations: [Phase: UInt64] = [:]
    /// The process's processor time when the clock began.
    var cpuAtStart = ProcessUsage.cpuNanoseconds
  }

  private let state = Mutex(State())

  var phase: Phase { state.withLock { $0.phase } }

  /// Moves on, if the table allows it.
  @discardableResult func apply(_ event: PhaseEvent) -> Bool {
    state.withLock { state in
      guard let next = state.phase.next(after: event) else { return false }
      let now = HostClock.now()
      state.durations[state.phase, default: 0] += now - state.enteredAt
      state.phase = next
      state.enteredAt = now
      return true
    }
  }

  /// Forgets the time so far: a receiver's clock starts when a source comes.
  func restart() {
    state.withLock { state in
      state.enteredAt = HostClock.now()
      state.cpuAtStart = ProcessUsage.cpuNanoseconds
    }
  }

  /// Processor time of this process since then, user and system, all threads.
  var cpuNanoseconds: Int64 { ProcessUsage.cpuNanoseconds - state.withLock { $0.cpuAtStart } }

  /// Seconds spent in each phase so far, final ones left out.
  var seconds: MigrationReport.PhaseSeconds {
    let durations = state.withLock { state in
      var all = state.durations
      if !state.phase.isFinal { all[state.phase, default: 0] += HostClock.now() - state.enteredAt }
      return all
    }
    func seconds(_ phase: Phase) -> Double { Double(durations[phase] ?? 0) / 1e9 }
    return MigrationReport.PhaseSeconds(
      setup: seconds(.setup), reservation: seconds(.reservation), active: seconds(.active),
      switchover: seconds(.switchover), commit: seconds(.commit))
  }
}
