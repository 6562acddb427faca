// SPDX-License-Identifier: Apache-2.0
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import Telemetry

@Suite("A migration's metrics") struct MigrationMetricsTests {
  private let factory = OpenMetricsFactory()

  private func value(_ series: String) -> String? {
    let line = factory.text(.openMetrics).split(separator: "\n").first { $0.hasPrefix(series + " ") }
    return line.map { String($0.dropFirst(series.count + 1)) }
  }

  @Test("Counters grow by what is new, and never go back")
  func counters() {
    let metrics = MigrationMetrics(session: "s", peer: "p", factory: factory)
    let name = "pageferry_wire_bytes_total{session=\"s\",peer=\"p\"}"
    for (wire, expected) in [
      (1000, "1000"), (1000, "1000"), (5_000_000_000_000, "5000000000000"), (7, "5000000000000"),
    ] {
      metrics.update(MetricSample.all(Sample.live(wire: UInt64(wire))))
      #expect(value(name) == expected)
    }
  }

  @Test("What is not known any more is not said any more; what one migration said goes with it")
  func gauges() {
    let metrics = MigrationMetrics(session: "s", peer: "p", factory: factory)
    let other = MigrationMetrics(session: "t", peer: "p", factory: factory)
    let name = "pageferry_downtime_expected_seconds{session=\"s\",peer=\"p\"}"
    metrics.update(MetricSample.all(Sample.live()))
    other.update(MetricSample.all(Sample.live()))
    #expect(value(name) == "2.4")
    metrics.update(MetricSample.all(Sample.still))
    #expect(value(name) == nil)
    #expect(value(name.replacing("\"s\"", with: "\"t\"")) == "2.4")
    metrics.destroy()
    #expect(!factory.text(.openMetrics).contains("session=\"s\""))
    #expect(factory.text(.openMetrics).contains("session=\"t\""))
  }

  @Test("An image says nothing of downtime, throttle and verdict")
  func still() {
    let names = Set(MetricSample.all(Sample.still).map { $0.metric })
    #expect(names.isDisjoint(with: [.throttle, .verdict, .downtimeLimit, .dirtyRate, .cacheHits, .downtime]))
    #expect(names.isSuperset(of: [.phase, .memory, .pages, .wire]))
  }

  @Test("States: exactly one holds", arguments: ["measuring", "converging", "stalled", "cannot-converge"])
  func states(verdict: String) {
    let samples = MetricSample.all(Sample.live(verdict: verdict))
    for metric in [Metric.phase, .verdict] {
      #expect(samples.filter { $0.metric == metric }.reduce(0) { $0 + $1.value } == 1)
    }
    #expect(samples.contains(.init(.verdict, 1, [.init("pageferry_verdict", verdict)])))
  }

  @Test("Shares are shares, in the unit that the name says")
  func units() {
    let samples = MetricSample.all(Sample.live(), settings: Sample.settings)
    func one(_ metric: Metric) -> Double? { samples.first { $0.metric == metric }?.value }
    #expect(one(.throttle) == 0.3 && one(.throttleNeeded) == 0.7 && one(.downtimeLimit) == 0.3)
    #expect(one(.timeToConverge) == 3 && one(.elapsed) == 12.5 && one(.bandwidthLimit) == 125e6)
    #expect(abs((one(.wireRate) ?? 0) - 117_562_500) < 1)
    #expect(samples.filter { $0.metric == .laneBlocked }.map { $0.value } == [0.68, 1])
  }

  @Test("A label's value is cut, between characters")
  func labels() {
    let name = MigrationMetrics.cut(String(repeating: "é", count: 500))
    #expect(name.utf8.count <= MigrationMetrics.labelByteCountMax && name.hasSuffix("é…"))
    #expect(MigrationMetrics.cut("10.0.0.2:4410") == "10.0.0.2:4410")
  }

  @Test("The file is whole whenever it is read, and anyone may read it")
  func file() throws {
    let folder = TemporaryDirectory()
    let file = MetricsFile(path: folder.file("pageferry.prom"), metrics: factory)
    let texts = ["a", "b"].map { String(repeating: $0, count: 100_000) }
    try file.write(texts[0])
    let writer = Thread { for index in 0..<200 { try? file.write(texts[index % 2]) } }
    writer.start()
    while !writer.isFinished {
      let found = try String(contentsOfFile: file.path, encoding: .utf8)
      #expect(texts.contains(found))
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.file("")) == ["pageferry.prom"])
    let mode = try FileManager.default.attributesOfItem(atPath: file.path)[.posixPermissions] as? Int
    #expect(mode.map { $0 & 0o444 } == 0o444)
  }

  @Test("What cannot be written is said, and nothing is left behind")
  func unwritable() throws {
    let folder = TemporaryDirectory()
    #expect(throws: Errno.noSuchFileOrDirectory) {
      try MetricsFile(path: folder.file("no/such.prom"), metrics: factory).write("x")
    }
    try FileManager.default.createDirectory(atPath: folder.file("taken.prom"), withIntermediateDirectories: false)
    #expect(throws: Errno.self) { try MetricsFile(path: folder.file("taken.prom"), metrics: factory).write("x") }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.file("")) == ["taken.prom"])
  }
}
