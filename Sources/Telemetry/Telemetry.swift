// SPDX-License-Identifier: Apache-2.0
public import CoreMetrics
import HostSystem
public import Migration
import Synchronization
public import SystemPackage

/// Watches one migration for those who look from outside: takes a sample twice a second, on a thread of its own, and
/// has ready what metrics, `/status.json` and the live page say.
///
/// Only this thread asks the session; whoever reads gets what was found last, so that no number of readers, and no slow
/// one, is noticed by the migration.
public final class Telemetry: Sendable {
  /// How often a sample is taken, and the metrics' file is written.
  static let sampleInterval: Int64 = 500_000_000
  static let fileInterval: UInt64 = 2_000_000_000

  /// Where figures come from; all of it may be called by any thread.
  public struct Source: Sendable {
    /// What the migration is called, short, and who is at the other end; nil before both are known.
    public var name: @Sendable () -> (session: String, peer: String)?
    public var statistics: @Sendable () -> MigrationStatistics
    public var settings: @Sendable () -> MigrationSettings?
    public var iterations: @Sendable () -> [IterationReport]

    public init(
      session: String, peer: String, statistics: @escaping @Sendable () -> MigrationStatistics,
      settings: @escaping @Sendable () -> MigrationSettings? = { nil },
      iterations: @escaping @Sendable () -> [IterationReport] = { [] }
    ) {
      self.init(name: { (session, peer) }, statistics: statistics, settings: settings, iterations: iterations)
    }

    /// Of a side that does not know at first whom it will hear of.
    public init(
      name: @escaping @Sendable () -> (session: String, peer: String)?,
      statistics: @escaping @Sendable () -> MigrationStatistics,
      settings: @escaping @Sendable () -> MigrationSettings? = { nil },
      iterations: @escaping @Sendable () -> [IterationReport] = { [] }
    ) {
      self.name = name
      self.statistics = statistics
      self.settings = settings
      self.iterations = iterations
    }

    /// Of the sending side.
    public init(_ session: SourceSession) {
      self.init(
        session: session.name, peer: "\(session.configuration.endpoint)", statistics: { session.statistics },
        settings: { session.settings }, iterations: { session.iterations })
    }
  }

  private struct State {
    var history = History()
    var latest: MigrationStatistics?
    var settings: MigrationSettings?
    var iterations: [IterationReport] = []
  }

  private let source: Source
  private let state = Mutex(State())
  private let factory: (any MetricsFactory)?
  /// Once the migration has a name.
  private let metrics = Mutex<MigrationMetrics?>(nil)
  private let file: MetricsFile?
  private let stopped = Atomic<Bool>(false)
  private let stopSpot = ParkingSpot()
  private let thread = Mutex<HostThread?>(nil)
  /// Why the metrics' file could not be written the last time.
  private let fileFailure = Mutex<Errno?>(nil)

  /// - Parameters:
  ///   - factory: the backend of swift-metrics that is told; nil for the one that the program has bootstrapped.
  ///   - file: is kept up to date; what it exports must be the backend, or part of it.
  public init(_ source: Source, factory: (any MetricsFactory)? = nil, file: MetricsFile? = nil) {
    self.source = source
    self.factory = factory
    self.file = file
  }

  /// Why the metrics' file is not what it should be; nil if it is.
  public var fileError: Errno? { fileFailure.withLock { $0 } }

  /// Begins. Call once.
  public func start() {
    // So that whoever asks first finds something.
    _ = look()
    thread.withLock {
      $0 = HostThread(name: "pf-telemetry") { [self] in
        var writtenAt: UInt64 = 0
        var isLast = false
        while !isLast {
          // Asked before the sample is taken, so that one is taken after the end.
          isLast = stopped.load(ordering: .acquiring)
          update(look())
          let now = HostClock.now()
          if isLast || now - min(now, writtenAt) >= Self.fileInterval {
            writtenAt = now
            write()
          }
          if !isLast {
            _ = stopSpot.wait(nanoseconds: Self.sampleInterval) { stopped.load(ordering: .acquiring) }
          }
        }
      }
    }
  }

  /// Takes a last sample, writes the file, and ends the thread: what it has found stays. Call it when the migration is
  /// over. May be called again, or without ``start()``.
  public func finish() {
    stopped.store(true, ordering: .releasing)
    stopSpot.wake()
    let running = thread.withLock { thread -> HostThread? in
      defer { thread = nil }
      return thread
    }
    running?.join()
  }

  /// Takes the migration's series back from the backend. A program that moves one guest after the other calls it when
  /// their last values have been exported, after ``finish()``; otherwise they stay.
  public func forget() { metrics.withLock { $0 }?.destroy() }

  private func update(_ samples: [MetricSample]) {
    let metrics = metrics.withLock { metrics in
      if metrics == nil, let name = source.name() {
        metrics = MigrationMetrics(session: name.session, peer: name.peer, factory: factory)
      }
      return metrics
    }
    metrics?.update(samples)
  }

  private func look() -> [MetricSample] {
    let (now, settings, iterations) = (source.statistics(), source.settings(), source.iterations())
    state.withLock { state in
      state.latest = now
      state.settings = settings
      state.iterations = iterations
      state.history.append(.init(now, settings: settings))
    }
    return MetricSample.all(now, settings: settings)
  }

  private func write() {
    guard let file else { return }
    do throws(Errno) {
      try file.write()
      fileFailure.withLock { $0 = nil }
    } catch { fileFailure.withLock { $0 = error } }
  }

  /// What is known now; nil before the first sample.
  public var status: StatusDocument? {
    let now = state.withLock { $0 }
    guard let latest = now.latest else { return nil }
    let session = source.name()?.session ?? "–"
    return StatusDocument(
      session: session, statistics: latest,
      settings: now.settings.map { StatusDocument.Setting.all($0, of: latest) } ?? [],
      iterations: now.iterations, history: .init(now.history),
      page: LiveFigures(
        latest, settings: now.settings, iterations: now.iterations, session: session))
  }
}
