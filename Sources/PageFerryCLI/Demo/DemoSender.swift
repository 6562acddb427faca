// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Control
import Glibc
import GuestMemory
import HostSystem
import Logging
import PageFerry
import Synchronization
import SystemPackage
import Telemetry
import Workload

/// The demo's source: a guest that runs here, and moves to another process.
struct DemoSender {
  let plan: WorkloadPlan
  let guest: GuestOptions
  let move: MoveOptions
  let steering: SteeringOptions
  let recording: RecordOptions
  let settle: Double
  /// A demo that listens elsewhere; nil: one that is started here.
  let receiver: Endpoint?
  let control: ControlOptions
  let options: CommonOptions
  let telemetry: TelemetryOptions
  let insecure: Bool

  func run() throws {
    // Before the guest's threads: they would take the signals.
    let migration = Mutex<SourceSession?>(nil)
    Outcome.onTermination { reason in migration.withLock { $0 }?.cancel(reason) ?? Outcome.leave() }
    let socket = try control.socket()
    defer { socket?.finish(nil) }
    let running = try makeGuest()
    let recorder = try recording.recordBefore(running, quiet: options.quiet || options.json)
    let child: ChildProcess? = receiver == nil ? try startReceiver() : nil
    defer {
      child?.terminate()
      _ = child?.wait()
    }
    let address: Endpoint
    if let receiver { address = receiver } else { address = try self.address(of: child) }
    var configuration = SourceSession.Configuration(
      endpoint: address, socketOptions: options.socketOptions, channelCount: move.transfer.channels,
      laneCount: move.transfer.laneCount(options.placement), codec: move.transfer.codec,
      bandwidthLimit: move.link?.bytesPerSecond ?? 0, deltaCache: move.deltas.deltaCache,
      downtimeLimit: .milliseconds(move.downtimeLimit), switchoverLimit: .seconds(move.switchoverLimit),
      verify: move.verify, placement: options.placementOptions, software: PageFerry.software)
    steering.apply(to: &configuration.settings)
    configuration.logger = try logger()
    let session = SourceSession(guest: running, configuration: configuration)
    migration.withLock { $0 = session }
    let watching = try telemetry.start(.init(session), insecure: insecure, quiet: options.quiet)
    defer { watching?.stop() }
    socket?.start(session)
    let screen = DemoScreen(
      title: "\(ByteCount.format(guest.memory.bytes)) guest, \(plan)", downtimeLimit: Double(move.downtimeLimit),
      json: options.json, reading: { (session.statistics, running.statistics) })
    if !options.quiet || options.json { screen.start() }
    let watch = recorder?.watch { session.statistics.status == .active }
    let report = session.run()
    socket?.finish(report)
    screen.stop()
    watch?.stop()
    watching?.finish()
    guard report.failure == nil else {
      if options.json { Console.output(try ReportTable.line(DemoEnd(report: report, proof: nil))) }
      throw Outcome.exit(report)
    }
    if !options.json { print(ReportTable.text(report)) }
    let proof = try child.map { try awaitProof($0) }
    if options.json {
      Console.output(try ReportTable.line(DemoEnd(report: report, proof: proof)))
    } else {
      print("\n" + DemoStory.tell(report, plan: plan, proof: proof))
    }
    if let proof, !proof.isSound { throw ExitCode(CInt(FailureCode.digestMismatch.rawValue)) }
  }

  /// Iterations as lines: in a file if one was named; else on standard error, unless a screen is shown there.
  private func logger() throws -> Logger {
    if let path = steering.log { return try FileLogHandler.logger(path: path) }
    return ConsoleLogHandler.logger(quiet: options.quiet || options.json || Console.shared.isTerminal)
  }

  private func makeGuest() throws -> WorkloadGuest {
    do throws(GuestMemoryError) {
      let blocks: BlockTable
      do throws(BlockTableError) {
        blocks = try BlockTable([RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: guest.memory.bytes)])
      } catch { throw GuestMemoryError.badBlocks(error) }
      let memory = try ReceiveCommand.anonymousMemory(blocks, populate: false)
      let log = try DirtyTracking.log(for: memory, kind: guest.tracking)
      let made = try? WorkloadGuest(plan, memory: memory, dirtyLog: log)
      guard let made else { throw GuestMemoryError.blocksDiffer(reason: "the workload does not fit the guest") }
      if !options.quiet, !options.json {
        Console.shared.print("pageferry: filling \(ByteCount.format(guest.memory.bytes)) of guest memory (\(plan.mix))")
      }
      made.fill()
      made.start()
      return made
    } catch { throw Outcome.exit(MigrationFailure(input: error)) }
  }

  // MARK: The other process

  private func startReceiver() throws -> ChildProcess {
    do throws(Errno) {
      return try ChildProcess(
        program: "/proc/self/exe",
        arguments: [
          "demo", "--listen", "127.0.0.1:0", "--parent", "\(getpid())", "--settle", "\(settle)", "--dead-peer",
          "\(options.deadPeer)",
        ] + options.placement.words)
    } catch {
      throw Outcome.exit(MigrationFailure(.internal, "the demo's receiver could not be started: \(error)"))
    }
  }

  private func address(of child: ChildProcess?) throws -> Endpoint {
    guard let line = child?.nextLine(), let text = DemoNews(line: line)?.listening,
      let address = try? Endpoint(parsing: text)
    else { throw Outcome.exit(MigrationFailure(.peerAbsent, "the demo's receiver ended before it listened")) }
    return address
  }

  private func awaitProof(_ child: ChildProcess) throws -> DemoProof {
    if !options.quiet, !options.json {
      Console.shared.print(
        "pageferry: the guest runs in the other process; it is compared in \(Decimal.fixed(settle, digits: 1)) s")
    }
    while let line = child.nextLine() {
      if let proof = DemoNews(line: line)?.proof { return proof }
    }
    throw Outcome.exit(MigrationFailure(.outcomeUnknown, "the demo's receiver ended before it had compared the guest"))
  }
}

/// The last object that `--json` prints.
struct DemoEnd: Codable {
  var report: MigrationReport
  var proof: DemoProof?
}
