// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

@testable import Telemetry

/// What documents and the dashboard say about metrics is true.
@Suite("Documents about metrics") struct DocumentTests {
  private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().appendingPathComponent("docs")

  private static func text(_ name: String) throws -> String {
    try String(contentsOf: folder.appendingPathComponent(name), encoding: .utf8)
  }

  @Test("Every metric that is named exists", arguments: ["METRICS.md", "grafana/pageferry.json", "OPERATIONS.md"])
  func names(document: String) throws {
    let known = Set(Metric.allCases.flatMap { [$0.sampleName, $0.rawValue] })
    for match in try Self.text(document).matches(of: /pageferry_[a-z_]+/) {
      #expect(known.contains(String(match.output)), "\(match.output)")
    }
  }

  @Test("The table has every metric, with its type, its labels and its description, in the program's order")
  func table() throws {
    let rows = try Self.text("METRICS.md").split(separator: "\n").filter { $0.hasPrefix("| `pageferry_") }
    let expected = Metric.allCases.map { metric in
      let labels = metric.labels.map { "`\($0)` " }.joined()
      return "| `\(metric.sampleName)` | \(metric.kind.rawValue) | \(labels)| \(metric.help) |"
    }
    #expect(rows.map { String($0) } == expected)
  }

  @Test("Names follow the rules of OpenMetrics")
  func rules() {
    for metric in Metric.allCases {
      #expect(!metric.rawValue.hasSuffix("_total") && !metric.rawValue.hasSuffix("_info"), "\(metric.rawValue)")
      #expect(metric.unit == nil || metric.kind == .gauge || metric.kind == .counter, "\(metric.rawValue)")
      #expect(metric.help.hasSuffix("."), "\(metric.rawValue)")
    }
    #expect(Set(Metric.allCases.map { $0.sampleName }).count == Metric.allCases.count)
  }

  @Test("The dashboard is what Grafana imports: panels with queries, each in its place")
  func dashboard() throws {
    let dashboard = try #require(
      JSONSerialization.jsonObject(with: Data(Self.text("grafana/pageferry.json").utf8)) as? [String: Any])
    #expect((dashboard["schemaVersion"] as? Int ?? 0) >= 39 && dashboard["uid"] as? String == "pageferry")
    let panels = try #require(dashboard["panels"] as? [[String: Any]])
    #expect(Set(panels.compactMap { $0["id"] as? Int }).count == panels.count && panels.count >= 12)
    var taken: Set<[Int]> = []
    for panel in panels {
      let targets = try #require(panel["targets"] as? [[String: Any]])
      #expect(!targets.isEmpty)
      for target in targets {
        let query = try #require(target["expr"] as? String)
        #expect(query.contains("pageferry_") && query.contains("$session"), "\(query)")
        #expect(query.count(where: { $0 == "(" }) == query.count(where: { $0 == ")" }), "\(query)")
      }
      let place = try #require(panel["gridPos"] as? [String: Int])
      for x in place["x", default: 99]..<place["x", default: 99] + place["w", default: 0] {
        for y in place["y", default: 0]..<place["y", default: 0] + place["h", default: 0] {
          #expect(x < 24 && taken.insert([x, y]).inserted, "\(panel["title"] ?? "")")
        }
      }
    }
    let variables = (dashboard["templating"] as? [String: [[String: Any]]])?["list"] ?? []
    #expect(Set(variables.compactMap { $0["name"] as? String }) == ["datasource", "session"])
  }
}
