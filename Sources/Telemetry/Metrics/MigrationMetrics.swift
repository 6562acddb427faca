// SPDX-License-Identifier: Apache-2.0
public import CoreMetrics
import Migration
import Synchronization

/// Registers a migration's metrics with swift-metrics, and keeps them up to date: whatever backend the program has
/// chosen gets them.
public final class MigrationMetrics: Sendable {
  /// A label's value is cut here: peers and sessions are names, not texts.
  static let labelByteCountMax = 128

  private struct Key: Hashable {
    let metric: Metric
    let labels: [MetricSample.Label]
    var dimensions: [(String, String)] { labels.map { ($0.name, $0.value) } }
  }

  private struct State {
    var gauges: [Key: Gauge] = [:]
    /// Counters, and what they stand at.
    var counters: [Key: (counter: Counter, value: Int64)] = [:]
  }

  private let factory: any MetricsFactory
  private let common: [MetricSample.Label]
  private let state = Mutex(State())

  /// - Parameters:
  ///   - session: the migration's name, short; it tells its series from those of others.
  ///   - factory: the backend; nil for the one that the program has bootstrapped.
  public init(session: String, peer: String, factory: (any MetricsFactory)? = nil) {
    self.factory = factory ?? MetricsSystem.factory
    common = [.init("session", Self.cut(session)), .init("peer", Self.cut(peer))]
  }

  /// Says what `samples` say; a gauge that is not among them any more is taken back.
  public func update(_ samples: [MetricSample]) {
    state.withLock { state in
      var missing = Set(state.gauges.keys)
      for sample in samples {
        let key = Key(metric: sample.metric, labels: common + sample.labels)
        if sample.metric.kind == .counter {
          count(key, to: Int64(min(9e18, max(0, sample.value))), &state)
        } else {
          missing.remove(key)
          gauge(key, &state).record(sample.value)
        }
      }
      for key in missing { state.gauges.removeValue(forKey: key)?.destroy() }
    }
  }

  /// Takes everything back: the backend forgets this migration.
  public func destroy() {
    state.withLock { state in
      for gauge in state.gauges.values { gauge.destroy() }
      for entry in state.counters.values { entry.counter.destroy() }
      state = State()
    }
  }

  private func gauge(_ key: Key, _ state: inout State) -> Gauge {
    if let known = state.gauges[key] { return known }
    let made = Gauge(label: key.metric.sampleName, dimensions: key.dimensions, factory: factory)
    state.gauges[key] = made
    return made
  }

  /// Counters are told by how much they grew.
  private func count(_ key: Key, to value: Int64, _ state: inout State) {
    var entry =
      state.counters[key]
      ?? (Counter(label: key.metric.sampleName, dimensions: key.dimensions, factory: factory), 0)
    if value > entry.value {
      entry.counter.increment(by: value - entry.value)
      entry.value = value
    }
    state.counters[key] = entry
  }

  static func cut(_ text: String) -> String {
    guard text.utf8.count > labelByteCountMax else { return text }
    var cut = text
    while cut.utf8.count > labelByteCountMax - 3 { cut.removeLast() }
    return cut + "…"
  }
}
