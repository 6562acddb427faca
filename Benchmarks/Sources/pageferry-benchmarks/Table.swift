// SPDX-License-Identifier: Apache-2.0

/// Rows of text in columns; the last ones are figures and stand to the right.
struct Table {
  /// Title and least width, in characters.
  struct Column {
    let title: String
    let width: Int
    let isFigure: Bool

    static func text(_ title: String, _ width: Int) -> Column { Column(title: title, width: width, isFigure: false) }
    static func figure(_ title: String, _ width: Int) -> Column { Column(title: title, width: width, isFigure: true) }
  }

  let columns: [Column]

  /// Prints the titles.
  func head() { row(columns.map(\.title)) }

  /// Prints a row; cells that are missing at the end stay empty.
  func row(_ cells: [String]) {
    var line = ""
    for (column, cell) in zip(columns, cells) {
      let gap = String(repeating: " ", count: max(1, column.width - cell.count))
      line += column.isFigure ? gap + cell : cell + gap
    }
    while line.last == " " { line.removeLast() }
    print(line)
  }
}

extension Double {
  /// So many decimals; Foundation would be a large dependency for this alone.
  func decimal(_ places: Int) -> String {
    guard isFinite, magnitude < 1e15 else { return "-" }
    var scale = 1
    for _ in 0..<places { scale *= 10 }
    let scaled = Int((magnitude * Double(scale)).rounded())
    let sign = self < 0 && scaled > 0 ? "-" : ""
    guard places > 0 else { return "\(sign)\(scaled)" }
    let fraction = "\(scaled % scale)"
    return "\(sign)\(scaled / scale)." + String(repeating: "0", count: places - fraction.count) + fraction
  }

  /// Nanoseconds: a decimal where it says something.
  var asNanoseconds: String { decimal(self < 100 ? 1 : 0) }
}
