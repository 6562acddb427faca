// SPDX-License-Identifier: Apache-2.0
import HostSystem
public import Lanes
public import Logging
import Migration
import Synchronization
public import Transport
import Wire

/// The half of a proxy pair beside the destination hypervisor: waits for the other half, and has a session of its own with
/// the hypervisor for each connection that the source hypervisor has made (one, and more with multifd).
public final class RelayDestination: Sendable {
  /// What an operator decides.
  public struct Configuration: Sendable {
    /// Where the hypervisor listens (`-incoming`), and how long to look for it.
    public var hypervisor: Endpoint
    public var connectTimeout: Duration
    /// How long to wait for the other half; nil for ever.
    public var waitLimit: Duration?
    /// Whether pages go straight into the hypervisor's memory.
    public var direct: DirectMemory
    /// Most guest memory to accept, in bytes.
    public var memoryLimit: UInt64
    public var setupTimeout: Duration
    /// The longest silence of the other half.
    public var silenceLimit: Duration
    public var placement: PlacementOptions
    /// Program and version, for the peer's log.
    public var software: String

    public init(
      hypervisor: Endpoint, connectTimeout: Duration = .seconds(10), waitLimit: Duration? = nil,
      direct: DirectMemory = .automatic, memoryLimit: UInt64 = 1 << 46, setupTimeout: Duration = .seconds(10),
      silenceLimit: Duration = .seconds(15), placement: PlacementOptions = .init(), software: String
    ) {
      self.hypervisor = hypervisor
      self.connectTimeout = connectTimeout
      self.waitLimit = waitLimit
      self.direct = direct
      self.memoryLimit = memoryLimit
      self.setupTimeout = setupTimeout
      self.silenceLimit = silenceLimit
      self.placement = placement
      self.software = software
    }
  }

  /// Most connections of one source: its main one, multifd's, and postcopy's.
  private static let sessionCountMax = 258

  private let listener: Listener
  private let configuration: Configuration
  private let logger: Logger
  private let visitors = Mailbox<Event>()
  let sessions = Mutex<[RelayArrival]>([])
  let meters = RelayMeters()

  private enum Event: Sendable {
    case visitor(Visitor)
    case ended
    case cancel(String)
  }

  public init(listener: Listener, configuration: Configuration, logger: Logger) {
    self.listener = listener
    self.configuration = configuration
    self.logger = logger
  }

  /// Asks it to end: hypervisors on both sides see their migration fail.
  public func cancel(_ reason: String) { visitors.post(.cancel(reason)) }

  /// What has become of each connection so far, in the order in which they came.
  public var reports: [RelayReport] { sessions.withLock { $0 }.map { $0.report } }

  /// Serves a migration: until every connection that was made has ended.
  /// - Returns: a report for each.
  public func run() -> [RelayReport] {
    let reception = Reception(
      listener: listener, warn: { [logger] in logger.warning("\($0)") },
      deliver: { [visitors] in visitors.post(.visitor($0)) })
    reception.start()
    defer { reception.stop() }
    var threads: [HostThread] = []
    defer { for thread in threads { thread.join() } }
    var ended = 0
    var failure: MigrationFailure?
    var cancelled: String?
    let deadline = configuration.waitLimit.map { HostClock.now() + $0.nanoseconds }
    while threads.isEmpty || ended < threads.count {
      let left = threads.isEmpty ? deadline.map { Int64(clamping: $0 - min($0, HostClock.now())) } ?? -1 : -1
      guard let event = visitors.next(nanoseconds: left) else {
        failure = MigrationFailure(.peerAbsent, "no proxy came to \(listener.endpoint) in time (--wait)")
        break
      }
      switch event {
      case .ended: ended += 1
      case .cancel(let reason):
        (failure, cancelled) = (MigrationFailure(.cancelled, reason), reason)
        for session in sessions.withLock({ $0 }) { session.cancel(reason) }
        if threads.isEmpty { return [refusal(failure)] }
      case .visitor(.source(let control, let hello)):
        guard hello.features.contains(.relay) else {
          control.refuse("this is a proxy for a hypervisor: 'pageferry proxy source' can talk to it")
          continue
        }
        guard threads.count < Self.sessionCountMax else {
          control.refuse("too many connections")
          continue
        }
        if threads.isEmpty { meters.restart() }
        let session = RelayArrival(control, hello, configuration: configuration, logger: logger)
        sessions.withLock { $0.append(session) }
        if let cancelled { session.cancel(cancelled) }
        threads.append(
          HostThread(name: "pf-arrival") { [visitors] in
            session.run()
            visitors.post(.ended)
          })
      case .visitor(.dataChannel(let channel, let attach)):
        guard let session = sessions.withLock({ $0.first { $0.token == attach.token } }) else {
          channel.refuse("there is no session to attach to")
          continue
        }
        session.attach(channel, attach)
      case .visitor(.refused(let refused)), .visitor(.listenerFailed(let refused)):
        failure = refused
        if threads.isEmpty { return [refusal(failure)] }
      }
    }
    guard !threads.isEmpty else { return [refusal(failure)] }
    return reports
  }

  private func refusal(_ failure: MigrationFailure?) -> RelayReport {
    var report = RelayReport(role: .destination, phase: .failed, mode: .verbatim, seconds: 0)
    report.failure = failure.map { .init($0) }
    if failure?.code == .cancelled { report.phase = .cancelled }
    meters.noteEnd(report)
    return report
  }
}
