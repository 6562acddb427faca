// SPDX-License-Identifier: Apache-2.0

/// Rows of text in columns of given widths; what is too long is cut.
struct TextTable {
  enum Column {
    case left(Int)
    case right(Int)
  }

  let columns: [Column]

  func text(_ rows: [[String]]) -> String {
    rows.map { row in
      var line = zip(columns, row).map { column, text in
        switch column {
        case .left(let width): pad(text, width, before: false)
        case .right(let width): pad(text, width, before: true)
        }
      }.joined()
      while line.last == " " { line.removeLast() }
      return line
    }.joined(separator: "\n")
  }

  private func pad(_ text: String, _ width: Int, before: Bool) -> String {
    // A column's last place stays free where the next one begins at once.
    let shown = text.count > (before ? width : width - 1) ? String(text.prefix(width - 2)) + "…" : text
    let space = String(repeating: " ", count: max(0, width - shown.count))
    return before ? space + shown : shown + space
  }
}
