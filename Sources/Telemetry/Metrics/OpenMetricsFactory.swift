// SPDX-License-Identifier: Apache-2.0
public import CoreMetrics
import Synchronization

/// A small backend of swift-metrics: keeps the values, and renders them as OpenMetrics or Prometheus text.
///
/// Any thread may register, change and render.
public final class OpenMetricsFactory: MetricsFactory {
  /// Series beyond this are not kept: whoever makes labels of what comes from outside does not fill memory.
  static let seriesCountMax = 20_000

  struct Family {
    var kind: Metric.Kind
    /// By their labels, as the text has them.
    var series: [String: MetricSeries] = [:]
  }

  private struct State {
    var families: [String: Family] = [:]
    var count = 0
  }

  private let state = Mutex(State())

  public init() {}

  /// All that is registered now.
  var families: [String: Family] { state.withLock { $0.families } }

  private func series(_ label: String, _ dimensions: [(String, String)], _ kind: Metric.Kind) -> MetricSeries {
    let metric = Metric.bySampleName[label]
    let name = metric?.rawValue ?? MetricText.familyName(label, counter: kind == .counter)
    let labels = MetricText.labels(dimensions)
    let kind = metric?.kind ?? kind
    return state.withLock { state in
      let made = MetricSeries(family: name, labels: labels)
      // A name has one kind: whoever comes later with another is not shown.
      guard state.families[name].map({ $0.kind == kind }) ?? true else { return made }
      if let known = state.families[name]?.series[labels] { return known }
      guard state.count < Self.seriesCountMax else { return made }
      state.count += 1
      state.families[name, default: Family(kind: kind)].series[labels] = made
      return made
    }
  }

  private func forget(_ handler: AnyObject) {
    guard let series = handler as? MetricSeries else { return }
    state.withLock { state in
      guard state.families[series.family]?.series[series.labels] === series else { return }
      state.families[series.family]?.series[series.labels] = nil
      state.count -= 1
      if state.families[series.family]?.series.isEmpty == true { state.families[series.family] = nil }
    }
  }

  // MARK: MetricsFactory

  public func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
    series(label, dimensions, .counter)
  }

  public func makeFloatingPointCounter(
    label: String, dimensions: [(String, String)]
  ) -> any FloatingPointCounterHandler {
    series(label, dimensions, .counter)
  }

  public func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
    series(label, dimensions, .gauge)
  }

  public func makeRecorder(
    label: String, dimensions: [(String, String)], aggregate: Bool
  ) -> any RecorderHandler {
    series(label, dimensions, aggregate ? .summary : .gauge)
  }

  public func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
    series(label, dimensions, .summary)
  }

  public func destroyCounter(_ handler: any CounterHandler) { forget(handler) }
  public func destroyFloatingPointCounter(_ handler: any FloatingPointCounterHandler) { forget(handler) }
  public func destroyMeter(_ handler: any MeterHandler) { forget(handler) }
  public func destroyRecorder(_ handler: any RecorderHandler) { forget(handler) }
  public func destroyTimer(_ handler: any TimerHandler) { forget(handler) }
}

/// One series: a value, and for summaries how many there were.
final class MetricSeries: CounterHandler, FloatingPointCounterHandler, MeterHandler, RecorderHandler, TimerHandler {
  struct Value {
    /// The latest, and all of them together.
    var last = 0.0
    var sum = 0.0
    var count = 0
  }

  let family: String
  let labels: String
  private let state = Mutex(Value())

  init(family: String, labels: String) {
    self.family = family
    self.labels = labels
  }

  var value: Value { state.withLock { $0 } }

  func increment(by amount: Int64) { increment(by: Double(amount)) }
  func increment(by amount: Double) { state.withLock { $0.last += amount } }
  func decrement(by amount: Double) { state.withLock { $0.last -= amount } }
  func reset() { state.withLock { $0.last = 0 } }
  func set(_ value: Int64) { record(Double(value)) }
  func set(_ value: Double) { record(value) }
  func record(_ value: Int64) { record(Double(value)) }

  func record(_ value: Double) {
    state.withLock { state in
      state.last = value
      state.sum += value
      state.count += 1
    }
  }

  /// Times are seconds.
  func recordNanoseconds(_ duration: Int64) { record(Double(duration) / 1e9) }
}
