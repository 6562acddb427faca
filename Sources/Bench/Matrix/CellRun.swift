// SPDX-License-Identifier: Apache-2.0

/// What the destination knows about one migration.
public struct DestinationFigures: Sendable, Equatable, Codable {
  public var completed: Bool
  /// Why it is not completed.
  public var reason: String?
  /// Of the process, from the first byte to the last.
  public var cpuSeconds: Double
  /// Receivers' time, summed over them: decoding, and storing pages (first touch included).
  public var decodeSeconds: Double
  public var storeSeconds: Double

  func check() throws(BenchError) {
    try Limits.check(figures: [
      "cpuSeconds": cpuSeconds, "decodeSeconds": decodeSeconds, "storeSeconds": storeSeconds,
    ])
  }
}

/// One migration.
public struct CellRun: Sendable, Equatable, Codable {
  public enum Outcome: String, Sendable, Codable {
    case completed
    /// Cancelled when its time was up: a guest that runs did not converge, or a paused one took too long.
    case overtime
    case failed
  }

  public var outcome: Outcome
  public var reason: String?
  /// All of it; of this, setting up; and of this, pages flowing.
  public var seconds: Double
  public var setupSeconds: Double
  public var flowSeconds: Double
  /// Nil for a guest that is paused.
  public var downtimeMilliseconds: Double?
  public var iterations: Int
  public var guestBytes: UInt64
  public var wireBytes: UInt64
  public var lanes: Int
  /// Of the whole process.
  public var sourceCPUSeconds: Double
  /// Lanes' time, summed over them.
  public var readSeconds: Double
  public var encodeSeconds: Double
  public var destination: DestinationFigures

  /// Guest memory a second.
  public var bytesPerSecond: Double { Double(guestBytes) / max(seconds, 1e-9) }
}

/// What a cell came to.
public struct CellResult: Sendable, Equatable, Codable {
  public var cell: Cell
  public var runs: [CellRun]
  /// The run with the median time; of the figures below, all are its own.
  public var median: CellRun
  public var load: Load
  public var limit: LimitingResource

  init(cell: Cell, runs: [CellRun], hosts: Load.Hosts) {
    self.cell = cell
    self.runs = runs
    median = Self.median(runs)
    load = Load(median, cell: cell, hosts: hosts)
    limit = load.limit
  }

  /// Of the runs that were completed, if there are any. Of two, the faster: what disturbs a run makes it slower.
  static func median(_ runs: [CellRun]) -> CellRun {
    let completed = runs.filter { $0.outcome == .completed }
    let sorted = (completed.isEmpty ? runs : completed).sorted { $0.seconds < $1.seconds }
    return sorted[(sorted.count - 1) / 2]
  }

  public var isCompleted: Bool { median.outcome == .completed }
}

/// A cell that was not tried.
public struct SkippedCell: Sendable, Equatable, Codable {
  public var cell: Cell
  public var reason: String
}
