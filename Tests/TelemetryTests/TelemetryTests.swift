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
    #expect(columns.count == 8 && Set(columns.values.map { $0.count }).count == 1)
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
