// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import GuestMemory
import HostSystem
import Migration
import PageFerry
import Synchronization

/// Whether the demo's guest is recorded.
struct RecordOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Record how the guest dirties its memory, before it moves and while it does.", valueName: "file"))
  var record: String?

  @Option(help: ArgumentHelp("How long to record before it moves.", valueName: "seconds"))
  var recordFor = 5.0

  func validate() throws {
    guard (0.1...3600).contains(recordFor) else { throw ValidationError("--record-for takes 0.1 to 3600 s.") }
  }

  /// Records, if that was asked for.
  /// - Returns: what goes on recording while the guest moves.
  func recordBefore(_ guest: any Guest, quiet: Bool) throws -> DemoRecorder? {
    guard let record, let recorder = DirtyRecorder(guest) else { return nil }
    if !quiet {
      Console.shared.print("pageferry: recording the guest for \(Decimal.fixed(recordFor, digits: 1)) s")
    }
    do {
      let writer = try TraceWriter(
        record, header: recorder.header(tool: PageFerry.software, recordedAt: TraceWriter.now))
      try recorder.record(seconds: recordFor) { writer.write($0) }
      try writer.check()
      return DemoRecorder(recorder, writer)
    } catch {
      Console.shared.print("pageferry: failed: the guest cannot be recorded: \(error)")
      throw ExitCode(CInt(FailureCode.outputFailed.rawValue))
    }
  }
}

/// Records the demo's guest while it moves.
final class DemoRecorder: Sendable {
  private struct State {
    var recorder: DirtyRecorder
    var ticks = 0
  }

  private let state: Mutex<State>
  private let writer: TraceWriter

  init(_ recorder: sending DirtyRecorder, _ writer: TraceWriter) {
    state = Mutex(State(recorder: recorder))
    self.writer = writer
  }

  /// Looks ten times a second, and writes a line each second.
  func watch(isMoving: @escaping @Sendable () -> Bool) -> Ticker {
    let ticker = Ticker(every: 100_000_000) { [self] in
      state.withLock { state in
        guard state.recorder.look(isMoving: isMoving) else { return }
        state.ticks += 1
        if state.ticks.isMultiple(of: 10), let sample = state.recorder.sampleWhileMoving() { writer.write(sample) }
      }
    }
    ticker.start()
    return ticker
  }
}
