// SPDX-License-Identifier: Apache-2.0
import CoreMetrics
import Migration
import Testing

@testable import Telemetry

@Suite("Metrics as text") struct MetricTextTests {
  private func full() -> OpenMetricsFactory {
    let factory = OpenMetricsFactory()
    Gauge(label: Metric.build.sampleName, dimensions: [("version", "1.2.3")], factory: factory).record(1)
    let metrics = MigrationMetrics(session: "1a2b", peer: "10.0.0.2:4410", factory: factory)
    metrics.update(MetricSample.all(Sample.live(.completed), settings: Sample.settings))
    let proxy = MigrationMetrics(session: "5e6f", peer: "10.0.0.2:4411", factory: factory)
    proxy.update(MetricSample.all(Sample.relay(.source), settings: Sample.settings))
    return factory
  }

  @Test("OpenMetrics: every line is what the format allows, and the last one is the end")
  func openMetrics() throws {
    let text = full().text(.openMetrics)
    try OpenMetricsCheck.check(text)
    #expect(text.contains("\npageferry_wire_bytes_total{session=\"1a2b\",peer=\"10.0.0.2:4410\"} 900000000\n"))
    #expect(text.contains("# TYPE pageferry_wire_bytes counter\n# UNIT pageferry_wire_bytes bytes\n"))
    #expect(text.contains("pageferry_phase{session=\"1a2b\",peer=\"10.0.0.2:4410\",pageferry_phase=\"completed\"} 1\n"))
    #expect(text.contains("pageferry_build_info{version=\"1.2.3\"} 1\n"))
    #expect(text.contains("pageferry_downtime_seconds{session=\"1a2b\",peer=\"10.0.0.2:4410\"} 0.08825\n"))
  }

  @Test(
    "The check itself finds what is wrong",
    arguments: [
      "# TYPE a gauge\na 1\n", "# TYPE a gauge\na 1\n# EOF", "# TYPE a counter\na 1\n# EOF\n",
      "# TYPE a gauge\n# UNIT a bytes\na 1\n# EOF\n", "# TYPE a gauge\na{b=\"\n\"} 1\n# EOF\n", "a 1\n# EOF\n",
      "# TYPE a gauge\na 1\n# TYPE b gauge\nb 1\na{c=\"d\"} 1\n# EOF\n", "# TYPE a gauge\na one\n# EOF\n",
      "# TYPE a gauge\na 1\na 1\n# EOF\n", "# TYPE a gauge\na{b=\"x\\y\"} 1\n# EOF\n",
    ])
  func refusals(text: String) {
    #expect(throws: OpenMetricsCheck.Wrong.self) { try OpenMetricsCheck.check(text) }
  }

  @Test("Every metric of the catalogue is there, with its labels, and no other")
  func complete() throws {
    let text = full().text(.openMetrics)
    for metric in Metric.allCases {
      let line = text.split(separator: "\n").first {
        $0.hasPrefix(metric.sampleName + "{") || $0.hasPrefix(metric.sampleName + " ")
      }
      let sample = try #require(line, "\(metric.rawValue)")
      for label in metric.labels { #expect(sample.contains("\(label)=\""), "\(metric.rawValue)") }
    }
    let families = text.split(separator: "\n").filter { $0.hasPrefix("# TYPE ") }
    #expect(families.count == Metric.allCases.count)
  }

  @Test("The older text names no type that its parser does not know, and counters by their sample's name")
  func prometheus() {
    let text = full().text(.prometheus)
    let types = text.split(separator: "\n").filter { $0.hasPrefix("# TYPE ") }.map { $0.split(separator: " ")[3] }
    #expect(Set(types) == ["gauge", "counter"])
    #expect(text.contains("# TYPE pageferry_wire_bytes_total counter\n"))
    #expect(text.contains("# TYPE pageferry_build_info gauge\n"))
    #expect(!text.contains("# UNIT") && !text.contains("# EOF") && text.hasSuffix("\n"))
  }

  @Test("Whatever a label holds stays in its quotes", arguments: ["a\"b\\c\nd", "}{,= #", "é😀", "\\n", ""])
  func escapes(value: String) throws {
    let factory = OpenMetricsFactory()
    Gauge(label: "x", dimensions: [("a b", value), ("9", "z"), ("a b", "twice")], factory: factory).record(1)
    let text = factory.text(.openMetrics)
    try OpenMetricsCheck.check(text)
    let escaped = value.replacing("\\", with: "\\\\").replacing("\n", with: "\\n").replacing("\"", with: "\\\"")
    #expect(text.contains("x{a_b=\"\(escaped)\",_9=\"z\"} 1\n"), "\(text)")
  }

  @Test("Others' metrics are exported, too, whatever they are called")
  func foreign() throws {
    let factory = OpenMetricsFactory()
    Counter(label: "http.requests_total", factory: factory).increment(by: 3)
    FloatingPointCounter(label: "2nd", factory: factory).increment(by: 1.5)
    Meter(label: "a:b", factory: factory).set(2)
    let timer = Timer(label: "wait", factory: factory)
    timer.recordNanoseconds(1_500_000_000)
    timer.recordNanoseconds(500_000_000)
    let text = factory.text(.openMetrics)
    try OpenMetricsCheck.check(text)
    for line in ["http_requests_total 3", "_2nd_total 1.5", "a:b 2", "wait_count 2", "wait_sum 2"] {
      #expect(text.contains("\n\(line)\n"), "\(line)")
    }
  }

  @Test("A name has one kind, and series are bounded and forgotten")
  func bounds() throws {
    let factory = OpenMetricsFactory()
    Gauge(label: "same", factory: factory).record(1)
    Counter(label: "same", factory: factory).increment()
    for index in 0..<OpenMetricsFactory.seriesCountMax + 10 {
      Gauge(label: "many", dimensions: [("n", "\(index)")], factory: factory).record(1)
    }
    let text = factory.text(.openMetrics)
    #expect(
      text.split(separator: "\n").count(where: { $0.hasPrefix("many{") }) == OpenMetricsFactory.seriesCountMax - 1)
    #expect(text.contains("\nsame 1\n") && !text.contains("same_total"))
    let one = Gauge(label: "same", factory: factory)
    one.destroy()
    #expect(!factory.text(.openMetrics).contains("same"))
  }

  @Test(
    "Numbers keep their digits",
    arguments: [
      (0.0, "0"), (-0.0, "0"), (1e15, "1000000000000000"), (0.5, "0.5"), (1e300, "1e+300"), (.infinity, "+Inf"),
      (-.infinity, "-Inf"), (.nan, "NaN"), (1e-9, "1e-09"),
    ] as [(Double, String)])
  func numbers(value: Double, text: String) { #expect(MetricText.number(value) == text) }
}
