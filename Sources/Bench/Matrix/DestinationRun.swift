// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import HostSystem
import Logging
import Migration
import PageModel
import Synchronization
import Transport
import Workload

/// One migration, as the server takes it.
struct DestinationRun {
  let listener: Listener
  let request: BenchMessage.CellRequest
  let software: String

  /// How long the client may take to come.
  private static let waitLimit = Duration.seconds(10)

  /// Takes the guest, and drops it. `attach` is told the session, so that it can be cancelled.
  func run(_ attach: (DestinationSession?) -> Void) -> DestinationFigures {
    let arrival = Mutex<WorkloadArrival?>(nil)
    let blocks = try? BlockTable([RAMBlock(name: "ram", guestPhysicalBase: 0, byteCount: request.memory)])
    let session = DestinationSession(
      listener: listener,
      configuration: .init(
        waitLimit: Self.waitLimit, expectedBlocks: blocks, memoryLimit: request.memory,
        historyLimit: request.history, setupTimeout: .seconds(5), silenceLimit: .seconds(10), runsGuests: request.runs,
        digestThreadCount: min(8, HostThread.allowedCPUs().count), software: software),
      logger: Logger(label: "bench") { _ in SwiftLogNoOpLogHandler() },
      makeGuest: { [runs = request.runs] (blocks) throws(GuestMemoryError) in
        let memory = try Content.reserve(blocks.byteCount)
        guard runs else { return StillArrival(memory) }
        let made = WorkloadArrival(memory)
        arrival.withLock { $0 = made }
        return made
      })
    attach(session)
    defer { attach(nil) }
    // A client that goes on for longer than it said.
    let alarm = Alarm(after: UInt64((request.seconds + 15) * 1e9)) { session.cancel("it took longer than agreed") }
    let cpu = ProcessUsage.current().cpuNanoseconds
    let report = session.run()
    let used = Double(ProcessUsage.current().cpuNanoseconds - cpu) / 1e9
    alarm.stop()
    arrival.withLock { $0 }?.guest?.stop()
    return DestinationFigures(
      completed: report.failure == nil, reason: report.failure.map { Printable.text($0.reason) }, cpuSeconds: used,
      decodeSeconds: report.codec.seconds, storeSeconds: report.resources.memorySeconds)
  }
}
