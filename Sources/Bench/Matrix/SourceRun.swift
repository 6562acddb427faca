// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import HostSystem
import Lanes
import Migration
import PageCodecs
import Synchronization
import Transport

/// One migration, as the client makes it.
struct SourceRun {
  let cell: Cell
  let guest: any Guest
  let endpoint: Endpoint
  let socketOptions: SocketOptions
  let lanes: Int
  let history: UInt64
  /// Seconds after which it is cancelled.
  let limit: Double
  let software: String

  /// Downtime that a guest that runs is allowed.
  static let downtimeLimit = Duration.milliseconds(300)
  static let overtime = "its time in the benchmark was up"

  /// Migrates. `attach` is told the session, so that it can be cancelled.
  func run(_ attach: (SourceSession?) -> Void) throws(CodecError) -> CellRun {
    let session = SourceSession(
      guest: guest,
      configuration: .init(
        endpoint: endpoint, socketOptions: socketOptions, connectTimeout: .seconds(3), channelCount: cell.channels,
        laneCount: lanes, codec: try CodecPolicy(parsing: cell.codec), historyByteCount: history,
        deltaCache: .automatic, downtimeLimit: Self.downtimeLimit, software: software))
    attach(session)
    defer { attach(nil) }
    let alarm = Alarm(after: UInt64(limit * 1e9)) { session.cancel(Self.overtime) }
    let cpu = ProcessUsage.current().cpuNanoseconds
    let report = session.run()
    let used = Double(ProcessUsage.current().cpuNanoseconds - cpu) / 1e9
    alarm.stop()
    let seconds = report.seconds
    let outcome: CellRun.Outcome =
      report.failure == nil ? .completed : report.failure?.reason == Self.overtime ? .overtime : .failed
    return CellRun(
      outcome: outcome, reason: report.failure.map { Printable.text($0.reason) }, seconds: seconds.total,
      setupSeconds: seconds.setup + seconds.reservation, flowSeconds: seconds.active + seconds.switchover,
      downtimeMilliseconds: report.live?.downtime?.milliseconds, iterations: max(1, report.live?.iterations.count ?? 1),
      guestBytes: report.bytes.guest, wireBytes: report.bytes.wire, lanes: report.lanes, sourceCPUSeconds: used,
      readSeconds: report.resources.memorySeconds, encodeSeconds: report.codec.seconds,
      destination: DestinationFigures(completed: false, cpuSeconds: 0, decodeSeconds: 0, storeSeconds: 0))
  }
}

/// Does something after a time, unless it is stopped before.
final class Alarm: Sendable {
  private let stopped = Atomic<Bool>(false)
  private let spot = ParkingSpot()
  private let thread = Mutex<HostThread?>(nil)

  init(after nanoseconds: UInt64, _ body: @escaping @Sendable () -> Void) {
    thread.withLock {
      $0 = HostThread(name: "bench-alarm") { [self] in
        let early = spot.wait(nanoseconds: Int64(clamping: nanoseconds)) { stopped.load(ordering: .relaxed) }
        if !early { body() }
      }
    }
  }

  /// Waits for the thread.
  func stop() {
    stopped.store(true, ordering: .relaxed)
    spot.wake()
    thread.withLock { thread -> HostThread? in
      defer { thread = nil }
      return thread
    }?.join()
  }
}
