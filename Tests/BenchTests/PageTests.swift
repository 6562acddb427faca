// SPDX-License-Identifier: Apache-2.0
import Foundation
import FoundationXML
import Testing

@testable import Bench

@Suite("The page with plots") struct PageTests {
  /// Counts elements, and says where the text is not XML.
  private final class Reader: NSObject, XMLParserDelegate {
    var elements: [String: Int] = [:]
    var texts: [String] = []
    private var text = ""

    func parser(
      _ parser: XMLParser, didStartElement name: String, namespaceURI: String?, qualifiedName: String?,
      attributes: [String: String]
    ) {
      elements[name, default: 0] += 1
      text = ""
    }

    func parser(_ parser: XMLParser, foundCharacters string: String) { text += string }

    func parser(_ parser: XMLParser, didEndElement name: String, namespaceURI: String?, qualifiedName: String?) {
      texts.append(text)
      text = ""
    }
  }

  private func read(_ page: String) throws -> Reader {
    let reader = Reader()
    let parser = XMLParser(data: Data(page.utf8))
    parser.delegate = reader
    #expect(parser.parse(), "line \(parser.lineNumber): \(String(describing: parser.parserError))")
    return reader
  }

  @Test("It is XML, stands alone, and holds every cell")
  func complete() throws {
    let cells = Sample.axes.cells.enumerated().map { index, cell in
      Sample.result(
        cell,
        Sample.run(
          seconds: 1.001 + Double(index), outcome: index == 9 ? .overtime : index == 11 ? .failed : .completed,
          downtime: cell.runs ? Double(index * 7) : nil))
    }
    let page = BenchPage.html(Sample.report(cells))
    let reader = try read(page)
    #expect(reader.elements["svg"] == 4)
    for index in cells.indices { #expect(reader.texts.contains { $0.contains("\(1 + index).001") }, "cell \(index)") }
    #expect(reader.texts.contains("a <processor> & more"))
    // The namespaces are names, not places.
    let references = page.replacing("http://www.w3.org/1999/xhtml", with: "").replacing(
      "http://www.w3.org/2000/svg", with: "")
    #expect(!references.contains("http") && !references.contains("<script") && !references.contains("url("))
  }

  @Test("Without anything measured there are no empty plots, and it is still a page")
  func empty() throws {
    var report = Sample.report([])
    report.server = nil
    report.link = []
    report.failure = .init(code: 32, name: "peerLost", reason: "lost <it> & \u{1} gone", fromPeer: false)
    let reader = try read(BenchPage.html(report))
    #expect(reader.elements["svg"] == nil)
    #expect(reader.texts.contains { $0.contains("lost <it> &") })
  }

  @Test(
    "Axes end on round numbers at or above the largest value",
    arguments: [(0.0, 1.0), (0.97, 1.0), (1.0, 1.0), (7.3, 8.0), (119, 150), (0.0021, 0.0025), (1234, 1500)])
  func scales(most: Double, end: Double) {
    let scale = Scale(upTo: most)
    #expect(abs(scale.end - end) < end * 1e-9, "\(scale.end)")
    #expect((2...11).contains(scale.ticks.count))
    #expect(Set(scale.ticks.map { scale.label($0) }).count == scale.ticks.count)
  }

  @Test("The JSON document has all cells, and comes back")
  func json() throws {
    let cells = Sample.axes.cells.map { Sample.result($0, Sample.run(downtime: $0.runs ? 12 : nil)) }
    let back = try JSONDecoder().decode(BenchReport.self, from: Data(Sample.report(cells).json().utf8))
    #expect(back.cells == cells && back.schema == 1 && back.recommendation != nil)
  }
}
