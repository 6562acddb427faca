// SPDX-License-Identifier: Apache-2.0

/// Which cell is tried next, and how long it may take: a value without clocks.
///
/// First all cells that differ from the baseline in at most one thing, twice; then the others; then all of them again,
/// up to three times each. A second run of what tells most is worth more than a first of everything.
struct Schedule {
  /// What was seen: seconds of the clock on the wall, filling memory included.
  private var seen: [Cell: [Double]] = [:]
  private var queue: [Cell]
  private(set) var skipped: [SkippedCell] = []
  /// Seconds that moving the memory once takes, guessed before anything is known.
  private let guess: Double

  static let runsMax = 3

  /// - Parameters:
  ///   - axes: what is to be tried.
  ///   - guess: seconds that a first migration may take.
  init(_ axes: Axes, guess: Double) {
    let base = axes.baseline
    let cells = axes.cells
    let near = cells.filter { Self.distance($0, base) <= 1 }
    let far = cells.filter { Self.distance($0, base) > 1 }
    queue = near + near + far
    for number in 2...Self.runsMax { queue += (number > 2 ? near : []) + far }
    self.guess = guess
  }

  /// In how many things two cells differ.
  static func distance(_ left: Cell, _ right: Cell) -> Int {
    [
      left.codec != right.codec, left.channels != right.channels, left.workers != right.workers,
      left.content != right.content, left.dirtyRate != right.dirtyRate,
    ].count { $0 }
  }

  /// Cells that wait, runs of the same one counted each.
  var remaining: Int { queue.count }

  /// The next cell that fits into the time left, and after how many seconds it is to be cancelled. Cells that do not fit
  /// are skipped.
  mutating func next(secondsLeft: Double) -> (cell: Cell, limit: Double)? {
    while !queue.isEmpty {
      let cell = queue.removeFirst()
      let expected = predict(cell)
      guard expected <= secondsLeft else {
        skip(cell, "no time left")
        continue
      }
      // One that does not end must not take the time of all others.
      let limit = min(secondsLeft, max(2, 5 * expected), cell.runs ? max(2, secondsLeft / 3) : secondsLeft)
      return (cell, limit)
    }
    return nil
  }

  /// A cell took `seconds`.
  mutating func note(_ cell: Cell, seconds: Double) { seen[cell, default: []].append(seconds) }

  /// A cell that cannot be tried, or not again.
  mutating func drop(_ cell: Cell, _ reason: String) {
    queue.removeAll { $0 == cell }
    skip(cell, reason)
  }

  /// It will not end any better the next time.
  mutating func doNotRepeat(_ cell: Cell) { queue.removeAll { $0 == cell } }

  private mutating func skip(_ cell: Cell, _ reason: String) {
    guard seen[cell] == nil, !skipped.contains(where: { $0.cell == cell }) else { return }
    skipped.append(SkippedCell(cell: cell, reason: reason))
  }

  /// Seconds that a cell will take: as before; else as those with its codec did, else as the slowest.
  func predict(_ cell: Cell) -> Double {
    if let own = seen[cell], let most = own.max() { return most }
    let alike = seen.filter { $0.key.runs == cell.runs }
    let sameCodec = alike.filter { $0.key.codec == cell.codec }
    if let most = (sameCodec.isEmpty ? alike : sameCodec).values.compactMap({ $0.max() }).max() { return most }
    let paused = seen.values.compactMap { $0.max() }.max() ?? guess
    // Memory is filled first, and moved more than once.
    return cell.runs ? 2.5 * paused : paused
  }
}
