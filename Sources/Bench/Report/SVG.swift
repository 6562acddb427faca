// SPDX-License-Identifier: Apache-2.0
import PageModel

/// Text as XML has it.
enum XMLText {
  static func escape(_ text: String) -> String {
    var escaped = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "&": escaped += "&amp;"
      case "<": escaped += "&lt;"
      case ">": escaped += "&gt;"
      case "\"": escaped += "&quot;"
      // Not allowed in XML, not even escaped.
      case _ where scalar.value < 0x20 && scalar != "\n" && scalar != "\t": escaped += " "
      case _ where scalar.value == 0xfffe || scalar.value == 0xffff: escaped += " "
      default: escaped.unicodeScalars.append(scalar)
      }
    }
    return escaped
  }
}

/// A drawing, made shape by shape. Colours and fonts are the page's, by class.
struct SVG {
  let width: Double
  let height: Double
  private let title: String
  private var body = ""

  init(width: Double, height: Double, title: String) {
    self.width = width
    self.height = height
    self.title = title
  }

  enum Anchor: String { case start, middle, end }

  mutating func line(_ from: (x: Double, y: Double), _ to: (x: Double, y: Double), _ style: String) {
    body += "<line x1=\"\(n(from.x))\" y1=\"\(n(from.y))\" x2=\"\(n(to.x))\" y2=\"\(n(to.y))\" class=\"\(style)\"/>\n"
  }

  mutating func polyline(_ points: [(x: Double, y: Double)], _ style: String) {
    let list = points.map { "\(n($0.x)),\(n($0.y))" }.joined(separator: " ")
    body += "<polyline points=\"\(list)\" class=\"\(style)\"/>\n"
  }

  mutating func rectangle(x: Double, y: Double, width: Double, height: Double, _ style: String, hint: String) {
    body += "<rect x=\"\(n(x))\" y=\"\(n(y))\" width=\"\(n(max(0, width)))\" height=\"\(n(max(0, height)))\" "
    body += "class=\"\(style)\"><title>\(XMLText.escape(hint))</title></rect>\n"
  }

  mutating func circle(_ at: (x: Double, y: Double), radius: Double, _ style: String, hint: String) {
    body += "<circle cx=\"\(n(at.x))\" cy=\"\(n(at.y))\" r=\"\(n(radius))\" class=\"\(style)\">"
    body += "<title>\(XMLText.escape(hint))</title></circle>\n"
  }

  mutating func text(
    _ text: String, x: Double, y: Double, _ anchor: Anchor = .start, style: String = "tick", turned: Bool = false
  ) {
    let turn = turned ? " transform=\"rotate(-90 \(n(x)) \(n(y)))\"" : ""
    body += "<text x=\"\(n(x))\" y=\"\(n(y))\" text-anchor=\"\(anchor.rawValue)\" class=\"\(style)\"\(turn)>"
    body += "\(XMLText.escape(text))</text>\n"
  }

  /// The drawing as an element of a page.
  var element: String {
    "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 \(n(width)) \(n(height))\" role=\"img\" "
      + "aria-label=\"\(XMLText.escape(title))\">\n\(body)</svg>"
  }

  /// A coordinate: a tenth of a unit is finer than a screen.
  private func n(_ value: Double) -> String { Decimal.fixed(value, digits: 1) }
}
