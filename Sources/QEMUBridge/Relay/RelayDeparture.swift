// SPDX-License-Identifier: Apache-2.0
import HostSystem
public import Logging
import Migration
import Synchronization
public import Transport

/// Where the source hypervisor connects: a ``RelaySource`` for each of its connections, one with most migrations, more with
/// multifd.
public final class RelayDeparture: Sendable {
  private let listener: Listener
  private let waitLimit: Duration?
  let configuration: RelaySource.Configuration
  private let logger: Logger
  let sessions = Mutex<[RelaySource]>([])
  let controls: RelayControls
  let meters = RelayMeters()
  private let ended = Atomic<Int>(0)
  private let siblings = Siblings()
  private let cancelled = Mutex<String?>(nil)

  /// - Parameter waitLimit: how long to wait for the hypervisor; nil for ever.
  public init(
    listener: Listener, waitLimit: Duration? = nil, configuration: RelaySource.Configuration, logger: Logger
  ) {
    self.listener = listener
    self.waitLimit = waitLimit
    self.configuration = configuration
    controls = RelayControls(configuration)
    self.logger = logger
  }

  /// Asks it to end: the hypervisor sees its migration fail, and its guest runs on.
  public func cancel(_ reason: String) {
    cancelled.withLock { $0 = reason }
    for session in sessions.withLock({ $0 }) { session.cancel(reason) }
  }

  /// What has become of each connection so far, in the order in which they came.
  public var reports: [RelayReport] { sessions.withLock { $0 }.map { $0.report } }

  /// Serves a migration: until every connection that was made has ended.
  /// - Returns: a report for each.
  public func run() -> [RelayReport] {
    var threads: [HostThread] = []
    defer { for thread in threads { thread.join() } }
    let deadline = waitLimit.map { HostClock.now() + $0.nanoseconds }
    while threads.isEmpty || ended.load(ordering: .acquiring) < threads.count {
      if let reason = cancelled.withLock({ $0 }), threads.isEmpty {
        return [failed(MigrationFailure(.cancelled, reason))]
      }
      if let deadline, threads.isEmpty, HostClock.now() > deadline {
        return [failed(MigrationFailure(.peerAbsent, "no hypervisor came to \(listener.endpoint) in time (--wait)"))]
      }
      do throws(TransportError) {
        guard let connection = try listener.accept(within: .milliseconds(50)) else {
          siblings.noteSilence()
          continue
        }
        siblings.join()
        if threads.isEmpty {
          meters.restart()
          logger.info("proxy \(controls.identity): the hypervisor has connected")
        }
        let session = RelaySource(
          hypervisor: connection, siblings: siblings, controls: controls, configuration: configuration, logger: logger)
        sessions.withLock { $0.append(session) }
        // It may have been asked for meanwhile.
        if let reason = cancelled.withLock({ $0 }) { session.cancel(reason) }
        threads.append(
          HostThread(name: "pf-departure") { [self] in
            _ = session.run()
            ended.add(1, ordering: .releasing)
          })
      } catch {
        if threads.isEmpty { return [failed(MigrationFailure(.cannotListen, error.description))] }
        cancel("the listener is gone: \(error)")
      }
    }
    return reports
  }

  private func failed(_ failure: MigrationFailure) -> RelayReport {
    var report = RelayReport(
      role: .source, phase: failure.code == .cancelled ? .cancelled : .failed, mode: .verbatim, seconds: 0)
    report.failure = .init(failure)
    meters.noteEnd(report)
    return report
  }
}
