// SPDX-License-Identifier: Apache-2.0
import Foundation
import HostSystem
import Migration
import Synchronization
import SystemPackage
import TestSupport
import Testing

@testable import Telemetry

@Suite("Watching a migration") struct TelemetryTests {
  @Test("History: as many samples as there is room for, over the whole time, the newest always the last")
  func history() {
    var history = History()
    for index in 0..<100_000 {
      history.append(.init(seconds: Double(index), wireRate: 0, remaining: 0))
      let all = history.all
      #expect(all.last?.seconds == Double(index))
      #expect(all.count <= History.sampleCountMax)
      guard index % 997 == 0, index > 2000 else { continue }
      #expect(all.first?.seconds == 0 && all.count >= History.sampleCountMax / 2 - 1)
      let steps = zip(all, all.dropFirst()).map { $1.seconds - $0.seconds }
      #expect(steps.dropLast().allSatisfy { $0 == Double(history.stride) }, "\(index): \(Set(steps))")
    }
  }

  @Test("Samples while it runs, one after the end, and then nothing asks any more")
  func samples() throws {
    let asked = Atomic<Int>(0)
    let folder = TemporaryDirectory()
    let metrics = OpenMetricsFactory()
    let isOver = Atomic<Bool>(false)
    let telemetry = Telemetry(
      .init(
        session: "1a2b", peer: "p",
        statistics: {
          asked.add(1, ordering: .relaxed)
          return Sample.live(isOver.load(ordering: .relaxed) ? .completed : .active)
        }, settings: { Sample.settings }, iterations: { Sample.iterations }),
      factory: metrics, file: MetricsFile(path: folder.file("m.prom"), metrics: metrics))
    #expect(telemetry.status == nil)
    telemetry.start()
    while telemetry.status == nil { HostClock.sleep(nanoseconds: 1_000_000) }
    #expect(telemetry.status?.statistics.status == .active)
    isOver.store(true, ordering: .relaxed)
    telemetry.finish()
    let count = asked.load(ordering: .relaxed)
    #expect(count >= 2 && telemetry.status?.statistics.status == .completed)
    let text = try String(contentsOfFile: folder.file("m.prom"), encoding: .utf8)
    #expect(text.contains("pageferry_phase=\"completed\"} 1\n") && telemetry.fileError == nil)
    HostClock.sleep(nanoseconds: 600_000_000)
    #expect(asked.load(ordering: .relaxed) == count)
    telemetry.finish()
    telemetry.forget()
    #expect(!metrics.text(.openMetrics).contains("1a2b"))
  }

  @Test("A file that cannot be written any more is noted, and the samples go on")
  func brokenFile() {
    let telemetry = Telemetry(
      .init(session: "s", peer: "p", statistics: { Sample.still }), factory: OpenMetricsFactory(),
      file: MetricsFile(path: "/no/such/place.prom", metrics: OpenMetricsFactory()))
    telemetry.start()
    telemetry.finish()
    #expect(telemetry.fileError == .noSuchFileOrDirectory && telemetry.status != nil)
  }

  @Test("status.json: statistics under QEMU's names, history in columns of one length")
  func json() throws {
    var history = History()
    for index in 0..<1000 { history.append(.init(Sample.live(seconds: Double(index)), settings: nil)) }
    let document = StatusDocument(
      session: "s", statistics: Sample.live(), settings: [.init("policy", "none")], iterations: Sample.iterations,
      history: .init(history), page: LiveFigures(Sample.live(), iterations: Sample.iterations, session: "s"))
    let object = try #require(JSONSerialization.jsonObject(with: Data(document.json.utf8)) as? [String: Any])
    let statistics = try #require(object["statistics"] as? [String: Any])
    #expect((statistics["ram"] as? [String: Any])?["dirty-sync-count"] as? Int == 4)
    let columns = try #require(object["history"] as? [String: [Any]])
    #expect(columns.count == 9 && Set(columns.values.map { $0.count }).count == 1)
    #expect(document.json.utf8.count < 100_000)
    #expect((object["iterations"] as? [Any])?.count == 4 && object["schema"] as? Int == 1)
  }

  @Test("Figures that are not numbers do not break it")
  func notNumbers() throws {
    var now = Sample.live()
    now.convergence?.neededBandwidth = .infinity
    now.convergence?.timeToConverge = .nan
    now.ram.mbps = .nan
    let figures = LiveFigures(now, iterations: [], session: "s")
    let document = StatusDocument(
      session: "s", statistics: now, settings: [], iterations: [], history: .init(History()), page: figures)
    #expect(document.json.hasPrefix("{\"history\""))
    #expect(figures.figures["wire-rate"] == "–")
    #expect(!MetricSample.all(now).contains { !$0.value.isFinite })
  }

  @Test("Before the first sync the downtime that is allowed is the one that is set")
  func allowed() {
    var now = Sample.live()
    now.convergence?.downtimeLimit = 0
    #expect(MetricSample.all(now, settings: Sample.settings).contains(.init(.downtimeLimit, 0.3)))
    #expect(LiveFigures(now, settings: Sample.settings, iterations: [], session: "s").figures["limit"] == "300 ms")
  }

  @Test("The headline is the verdict, and the advice has the figures")
  func headline() {
    let cannot = LiveFigures(Sample.live(), iterations: Sample.iterations, session: "s")
    #expect(cannot.figures["headline"] == "cannot converge" && cannot.mood == "bad")
    #expect(cannot.figures["advice"]?.hasPrefix("Dirty 412 MB/s against 118 MB/s; needs a throttle of ~70 %") == true)
    #expect(cannot.figures["throttle"] == "30 % (13 % on average)" && cannot.figures["expected"] == "2400 ms")
    #expect(cannot.iterations.count == 4 && cannot.iterations[0][0] == "4")
    #expect(cannot.iterations.allSatisfy { $0.count == LiveFigures.iterationHead.count })
    let done = LiveFigures(Sample.live(.completed), iterations: [], session: "s")
    #expect(done.isOver && done.figures["advice"] == "The guest stood still for 88.3 ms. It took 12.5 s.")
    let still = LiveFigures(Sample.still, iterations: [], session: "s")
    #expect(
      still.figures["remaining"] == "–" && !MetricSample.all(Sample.still).contains { $0.metric == .memoryRemaining })
    #expect(!still.isLive && still.figures["headline"] == "setup" && still.progress == 0)
    var paused = Sample.live()
    paused.convergence?.isPaused = true
    #expect(LiveFigures(paused, iterations: [], session: "s").figures["headline"] == "paused")
  }

  @Test("A proxy says what the pair knows: no remaining memory, no downtime, no verdict")
  func relay() throws {
    let samples = MetricSample.all(Sample.relay(.source), settings: Sample.settings)
    func value(_ metric: Metric, _ labels: [MetricSample.Label] = []) -> Double? {
      samples.first { $0.metric == metric && $0.labels == labels }?.value
    }
    #expect(value(.relayStream) == 2e9 && value(.relayStreamRate) == 125e6 && value(.iterations) == 812)
    #expect(value(.relayWindow) == Double(4 << 20) && value(.relayWindowUsed) == Double(3 << 20))
    #expect(value(.relayHeld) == Double(5 << 20) && value(.relaySuperseded) == 1203 && value(.relayConnections) == 2)
    #expect(value(.relayMode, [.init("pageferry_relay_mode", "pages")]) == 1)
    #expect(value(.relayMode, [.init("pageferry_relay_mode", "verbatim")]) == 0)
    #expect(value(.relayChannel, [.init("channel", "2")]) == 5e8 && value(.bandwidthLimit) == 125e6)
    let unknown: Set<Metric> = [
      .memoryRemaining, .verdict, .throttle, .downtimeExpected, .downtimeLimit, .dirtyRate, .syncs, .held,
    ]
    #expect(samples.allSatisfy { !unknown.contains($0.metric) })
    // And nothing of a proxy where there is none.
    #expect(MetricSample.all(Sample.live()).allSatisfy { !$0.metric.rawValue.contains("relay") })
    let destination = MetricSample.all(Sample.relay(.destination))
    #expect(destination.allSatisfy { ![.relayWindow, .relayHeld, .relayPages].contains($0.metric) })

    let figures = LiveFigures(Sample.relay(.source), settings: Sample.settings, iterations: [], session: "s")
    #expect(figures.isRelay && !figures.isLive && figures.figures["headline"] == "active")
    #expect(figures.figures["advice"]?.contains("query-migrate") == true && figures.figures["remaining"] == "–")
    #expect(figures.figures["window"] == "3.00 MiB of 4.00 MiB" && figures.figures["stream-rate"] == "125 MB/s")
    var waiting = Sample.relay(.destination, .setup)
    waiting.relay?.connections = 0
    #expect(LiveFigures(waiting, iterations: [], session: "s").figures["headline"] == "waiting")
    let page = LivePage.html(
      StatusDocument(
        session: "s", statistics: Sample.relay(.source),
        settings: StatusDocument.Setting.all(Sample.settings, of: Sample.relay(.source)),
        iterations: [], history: .init(History()), page: figures))
    #expect(page.contains(#"<body class="good relay">"#) && page.contains("<td>125 MB/s</td>"))
    #expect(!page.contains("downtime limit</th>"))
  }

  @Test("What holds a stream back is said by the window")
  func windowLimit() {
    var relay = MigrationStatistics.Relay(role: .source)
    #expect(relay.limit == nil)
    (relay.connections, relay.openConnections) = (1, 1)
    relay.window = .init(used: 95, limit: 100, highest: 100)
    #expect(relay.limit == "full: the link is the limit")
    relay.window?.used = 20
    #expect(relay.limit == "room: QEMU gives no more")
    relay.window?.used = 70
    #expect(relay.limit == nil)
    relay.window?.used = 95
    relay.connections = 3
    #expect(relay.limit == nil)
    relay.connections = 1
    relay.window = .init(used: 0, limit: 0, highest: 0)
    #expect(relay.limit == nil)
  }

  @Test("A migration whose name comes late has its series from then on")
  func lateName() {
    let isKnown = Atomic<Bool>(false)
    let metrics = OpenMetricsFactory()
    let telemetry = Telemetry(
      .init(
        name: { isKnown.load(ordering: .relaxed) ? ("7e57", "there") : nil },
        statistics: { Sample.relay(.destination) }), factory: metrics)
    telemetry.start()
    #expect(telemetry.status?.session == "–" && !metrics.text(.openMetrics).contains("pageferry_phase"))
    isKnown.store(true, ordering: .relaxed)
    telemetry.finish()
    #expect(metrics.text(.openMetrics).contains(#"session="7e57",peer="there""#))
  }

  @Test(
    "Durations as people say them",
    arguments: [(0.04, "0.0 s"), (99.9, "99.9 s"), (100, "1:40 min"), (3599.4, "59:59 min"), (3723, "1:02:03 h")])
  func durations(seconds: Double, text: String) { #expect(LiveFigures.duration(seconds) == text) }

  @Test("Every caption has its figure, and every figure its place")
  func places() {
    let figures = LiveFigures(Sample.live(), iterations: [], session: "s").figures
    let places = LiveFigures.captions.map { $0.id } + ["headline", "advice", "session", "progress-text"]
    #expect(Set(places) == Set(figures.keys))
  }
}
