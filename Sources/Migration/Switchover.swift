// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import HostSystem
import Lanes
import PageKernels
import PageModel
import Wire

/// The hand-over of the guest: pause, last sync, last pages, guest state, ready, commit, resumed.
///
/// Two round trips, and nothing in between that could wait: the guest state is saved while the last pages travel, and
/// all that the destination can prepare is done before it says `ready`. Belongs to the session's thread.
struct Switchover {
  private let guest: any Guest
  private let pipeline: SendingPipeline
  private let dialogue: SourceDialogue
  private let record: SourceRecord
  private let verify: Bool
  /// The longest that the guest may be paused for, in nanoseconds; nil for a guest that does not run.
  private let limit: UInt64?

  init(
    guest: any Guest, pipeline: SendingPipeline, dialogue: SourceDialogue, record: SourceRecord, verify: Bool,
    limit: Duration?
  ) {
    self.guest = guest
    self.pipeline = pipeline
    self.dialogue = dialogue
    self.record = record
    self.verify = verify
    self.limit = limit?.nanoseconds
  }

  /// What is sent with `final`, and how long it took.
  private struct Parting {
    var state: [UInt8] = []
    var digests: [BlockDigest] = []
    var stateNanoseconds: UInt64 = 0
    var verifyNanoseconds: UInt64 = 0
  }

  /// Hands the guest over. Whatever this throws before the commit leaves the guest paused here: the session resumes it.
  func run(_ preCopy: inout PreCopy) throws(MigrationFailure) {
    guard guest.dirtyLog != nil else { return try handOverStill() }
    let started = HostClock.now()
    let deadline = limit.map { started + $0 }
    // By order it may stand still already.
    let pausedAt = record.now.pausedAt ?? started
    if !record.isPaused {
      do throws(GuestError) { try guest.pause() } catch {
        throw MigrationFailure(.guestFailed, "the guest could not be paused: \(error)")
      }
      record.notePaused(at: started)
      dialogue.steering.pace()
    }
    record.noteHandingOver()
    let stoppedAt = HostClock.now()
    let last = try preCopy.beginLast()
    let syncedAt = HostClock.now()
    let parting = try part()
    try preCopy.finishLast(last, until: deadline)
    try send(parting, until: deadline)
    let ready = try dialogue.wait(
      picking: { if case .ready(let ready) = $0 { ready } else { nil } }, until: deadline)
    preCopy.noteLast(last)
    let readyAt = HostClock.now()
    let resumed = try commit()
    let resumedAt = HostClock.now()

    let pages = record.lastIteration
    func milliseconds(_ nanoseconds: UInt64) -> Double { Double(nanoseconds) / 1e6 }
    // The destination's word, but not for more time than there was.
    let loading = min(ready.loadNanoseconds, readyAt - syncedAt)
    let verifying = min(ready.verifyNanoseconds, readyAt - syncedAt)
    let resuming = min(resumed.resumeNanoseconds, resumedAt - readyAt)
    record.note(
      Downtime(
        milliseconds: milliseconds(resumedAt - pausedAt), pause: milliseconds(stoppedAt - pausedAt),
        sync: milliseconds(syncedAt - stoppedAt), transfer: milliseconds(readyAt - syncedAt),
        state: milliseconds(parting.stateNanoseconds + loading),
        verify: milliseconds(parting.verifyNanoseconds + verifying),
        commit: milliseconds(resumedAt - readyAt - resuming), resume: milliseconds(resuming),
        pages: pages.map { $0.donePages } ?? 0,
        bytes: record.bytesSincePause))
  }

  /// Nothing to pause, and the digests were computed while the memory was read.
  private func handOverStill() throws(MigrationFailure) {
    do throws(GuestMemoryError) { try guest.memory.checkUnchanged() } catch { throw MigrationFailure(input: error) }
    try send(Parting(digests: verify ? pipeline.digests : []))
    _ = try dialogue.wait(picking: { if case .ready(let ready) = $0 { ready } else { nil } })
    _ = try commit()
  }

  /// The guest's state, and what its memory is, while the lanes send the last pages.
  private func part() throws(MigrationFailure) -> Parting {
    var parting = Parting()
    let started = HostClock.now()
    do throws(GuestError) { parting.state = try guest.saveState() } catch {
      throw MigrationFailure(.guestFailed, "the guest's state could not be saved: \(error)")
    }
    guard parting.state.count <= WireLimits.guestStateByteCountMax else {
      throw MigrationFailure(
        .guestFailed,
        "the guest's state has \(parting.state.count) bytes, at most \(WireLimits.guestStateByteCountMax) "
          + "can be carried")
    }
    parting.stateNanoseconds = HostClock.now() - started
    if verify, let memory = guest.memory.mapping {
      let started = HostClock.now()
      parting.digests = memory.digests()
      record.note(digests: parting.digests)
      parting.verifyNanoseconds = HostClock.now() - started
    }
    return parting
  }

  private func send(_ parting: Parting, until deadline: UInt64? = nil) throws(MigrationFailure) {
    try dialogue.send(
      .final(
        .init(
          guestState: parting.state,
          digests: parting.digests.map { ControlMessage.DigestWords(low: $0.low, high: $0.high) })), until: deadline)
  }

  /// The point of no return: what follows cannot be cancelled, and a loss leaves the outcome unknown.
  private func commit() throws(MigrationFailure) -> ControlMessage.Resumed {
    guard dialogue.clock.apply(.ready) else {
      throw MigrationFailure(.internal, "a commit was due in phase '\(dialogue.clock.phase.rawValue)'")
    }
    try dialogue.send(.commit)
    let resumed = try dialogue.wait(picking: { if case .resumed(let resumed) = $0 { resumed } else { nil } })
    dialogue.clock.apply(.resumed)
    return resumed
  }
}
