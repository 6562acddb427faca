// SPDX-License-Identifier: Apache-2.0

/// One combination of options, content and guest that is tried.
public struct Cell: Sendable, Hashable, Codable {
  public var codec: String
  public var channels: Int
  /// 0: as `pageferry send` has it by default.
  public var workers: Int
  /// A mix, or `image`.
  public var content: String
  /// Memory that the guest dirties in a second, in MB; 0 for one that is paused.
  public var dirtyRate: Double

  public init(codec: String, channels: Int, workers: Int = 0, content: String, dirtyRate: Double = 0) {
    self.codec = codec
    self.channels = channels
    self.workers = workers
    self.content = content
    self.dirtyRate = dirtyRate
  }

  public var runs: Bool { dirtyRate > 0 }

  /// What is moved, apart from how: cells with the same can be compared.
  public var scenario: Scenario { Scenario(content: content, dirtyRate: dirtyRate) }

  /// How it is moved.
  public var options: Options { Options(codec: codec, channels: channels, workers: workers) }

  /// Lanes that it takes on a host with `cpus` CPUs: by default one per CPU, or per channel where nothing is encoded.
  public func lanes(cpus: Int) -> Int {
    if workers > 0 { return max(workers, channels) }
    return codec == "none" && !runs ? channels : min(256, max(channels, cpus))
  }

  public struct Scenario: Sendable, Hashable, Codable {
    public var content: String
    public var dirtyRate: Double
  }

  public struct Options: Sendable, Hashable, Codable {
    public var codec: String
    public var channels: Int
    public var workers: Int

    /// As an operator types them.
    public var commandLine: String {
      "--codec \(codec) --channels \(channels)" + (workers > 0 ? " --workers \(workers)" : "")
    }
  }
}

/// Everything that may be tried, by axis; the first value of each is the one that others are compared with.
public struct Axes: Sendable, Equatable, Codable {
  public var codecs: [String]
  public var channels: [Int]
  public var workers: [Int]
  public var contents: [String]
  public var dirtyRates: [Double]

  public init(codecs: [String], channels: [Int], workers: [Int], contents: [String], dirtyRates: [Double]) {
    self.codecs = codecs
    self.channels = channels
    self.workers = workers
    self.contents = contents
    self.dirtyRates = dirtyRates
  }

  /// The cell that every other is compared with: what `pageferry send` does when nothing is said, if that is among
  /// the values.
  public var baseline: Cell {
    Cell(
      codec: Self.preferred("auto", codecs) ?? "auto", channels: Self.preferred(2, channels) ?? 2,
      workers: Self.preferred(0, workers) ?? 0, content: contents.first ?? "",
      dirtyRate: Self.preferred(0, dirtyRates) ?? 0)
  }

  private static func preferred<Value: Equatable>(_ value: Value, _ values: [Value]) -> Value? {
    values.contains(value) ? value : values.first
  }

  /// Every combination once, the most telling first: the baseline, then what differs from it in one thing only, then
  /// in two, and so on; among these in the order codec, channels, dirty rate, workers, content.
  public var cells: [Cell] {
    let base = baseline
    var all: [(cell: Cell, distance: Int, axis: Int)] = []
    for content in contents {
      for rate in dirtyRates where rate == 0 || content != Content.image {
        for codec in codecs {
          for channel in channels {
            for worker in workers where worker == 0 || worker >= channel {
              let cell = Cell(codec: codec, channels: channel, workers: worker, content: content, dirtyRate: rate)
              // By weight of what differs: what is most telling about a link and its hosts comes first.
              let differs = [
                codec != base.codec, channel != base.channels, rate != base.dirtyRate, worker != base.workers,
                content != base.content,
              ]
              let axes = differs.indices.filter { differs[$0] }
              all.append((cell, axes.count, axes.reduce(0) { $0 * 5 + $1 }))
            }
          }
        }
      }
    }
    // Stable: within an axis, values come in the order in which they were given.
    return all.enumerated().sorted { left, right in
      (left.element.distance, left.element.axis, left.offset) < (
        right.element.distance, right.element.axis, right.offset
      )
    }.map { $0.element.cell }
  }
}
