// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import FoundationEssentials
import GuestMemory
import HostSystem
import Logging
import PageFerry
import Synchronization
import Workload

/// What a demo's receiver tells the sender that started it, a line of JSON each.
struct DemoNews: Codable {
  /// Where it listens.
  var listening: String?
  /// What the proof found.
  var proof: DemoProof?
  /// Why it ended without one.
  var failure: MigrationReport.Failure?

  init(listening: String? = nil, proof: DemoProof? = nil, failure: MigrationReport.Failure? = nil) {
    self.listening = listening
    self.proof = proof
    self.failure = failure
  }

  init?(line: String) {
    guard let news = try? JSONDecoder().decode(DemoNews.self, from: Data(line.utf8)) else { return nil }
    self = news
  }
}

/// That the guest arrived undamaged, or that it did not.
struct DemoProof: Codable {
  var isSound: Bool
  var pagesChecked: Int
  /// Writes that the pages account for, before and after the move.
  var writes: UInt64
  /// Of which at the destination.
  var writesHere: UInt64
  /// Seconds that the guest ran here before the proof.
  var ranFor: Double
  /// The longest time between two writes of a thread, as the guest saw it, over both hosts if they share a clock.
  var longestGapMilliseconds: Double
  var faults: [String]
}

/// The demo's destination: takes one guest, lets it run, and proves it undamaged.
struct DemoReceiver {
  let endpoint: Endpoint
  let insecure: Bool
  let settle: Double
  /// Started by a demo's sender: it speaks lines of JSON, and does not outlive it.
  let parent: Int32?
  let options: CommonOptions

  private var underParent: Bool { parent != nil }

  func run() throws {
    if let parent {
      // Ctrl-C reaches both: the sender decides.
      guard ChildProcess.endWithParent(parent) else { throw ExitCode.failure }
      ChildProcess.ignoreInterrupts()
    }
    let logger = ConsoleLogHandler.logger(quiet: options.quiet || underParent)
    let listener: Listener
    do throws(TransportError) { listener = try Listener(endpoint: endpoint, options: options.socketOptions) } catch {
      throw Outcome.exit(MigrationFailure(listening: error))
    }
    try ReceiveCommand.refuseToListenAbroad(listener, insecure: insecure)
    let arrival = Mutex<WorkloadArrival?>(nil)
    let session = DestinationSession(
      listener: listener,
      configuration: .init(
        silenceLimit: .seconds(options.deadPeer), runsGuests: true,
        digestThreadCount: min(8, options.placement.workerCount), placement: options.placementOptions,
        software: PageFerry.software),
      logger: logger,
      makeGuest: { (blocks) throws(GuestMemoryError) in
        let made = WorkloadArrival(try ReceiveCommand.anonymousMemory(blocks, populate: false))
        arrival.withLock { $0 = made }
        return made
      })
    if underParent { try tell(DemoNews(listening: "\(listener.endpoint)")) }
    logger.info("waiting for a demo's guest on \(listener.endpoint)")
    if !underParent { Outcome.onTermination { session.cancel($0) } }
    let display = ProgressDisplay(reading: { session.statistics })
    if !options.quiet, !underParent { display.start() }
    let report = session.run()
    display.stop()
    guard report.failure == nil, let guest = arrival.withLock({ $0 })?.guest else {
      guard underParent else { throw Outcome.exit(report) }
      // The sender says what went wrong: once is enough.
      try tell(DemoNews(failure: report.failure))
      throw ExitCode(CInt(report.failure?.code ?? FailureCode.internal.rawValue))
    }
    logger.info("the guest runs here; it is compared in \(Decimal.fixed(settle, digits: 1)) s")
    let proof = try prove(guest)
    if underParent { return try tell(DemoNews(proof: proof)) }
    print(
      options.json
        ? try ReportTable.line(DemoNews(proof: proof)) : ReportTable.text(report) + "\n" + DemoStory.tell(proof))
    if !proof.isSound { throw ExitCode(CInt(FailureCode.digestMismatch.rawValue)) }
  }

  private func prove(_ guest: WorkloadGuest) throws -> DemoProof {
    let before = guest.statistics.writes
    let started = HostClock.now()
    HostClock.sleep(nanoseconds: UInt64(settle * 1e9))
    try guest.pause()
    let ran = Double(HostClock.now() - started) / 1e9
    let found = try guest.verify(everything: true)
    return DemoProof(
      isSound: found.isSound, pagesChecked: found.pagesChecked, writes: found.writesAccounted,
      writesHere: guest.statistics.writes &- before, ranFor: ran,
      longestGapMilliseconds: guest.statistics.longestGap.seconds * 1000, faults: found.faults)
  }

  private func tell(_ news: DemoNews) throws { Console.output(try ReportTable.line(news)) }
}
