// SPDX-License-Identifier: Apache-2.0
import HostSystem

/// `scaling`: what is kept of a guest, and what an iteration does with it, as memory grows. No guest memory is needed.
struct ScalingRun {
  static let usage = """
    usage: pageferry-benchmarks scaling [OPTION VALUE]...
             --gibibytes A,B,C  sizes of guests (1,4,16,64,256,1024)
             --rounds N         measured iterations, after two that are thrown away (5)
             --dirty N          one page in so many is dirty in an iteration, scattered (100)
             --cache N          percent of memory that the delta cache may take (1)
    """

  private let sizes: [Int]
  private let roundCount: Int
  private let dirtyStep: Int
  private let cachePercent: Int

  init(_ arguments: some Sequence<String>) throws(UsageError) {
    let options = try Options(arguments, names: ["gibibytes", "rounds", "dirty", "cache"])
    guard options.words.isEmpty else { throw UsageError(message: "scaling takes options only") }
    sizes = try options.numbers("gibibytes", default: [1, 4, 16, 64, 256, 1024], in: 1...16384)
    roundCount = try options.number("rounds", default: 5, in: 1...1000)
    dirtyStep = try options.number("dirty", default: 100, in: 1...1_000_000)
    cachePercent = try options.number("cache", default: 1, in: 1...100)
  }

  func run() throws {
    let most = sizes.max() ?? 1
    // Hashes are 2 MiB a GiB; with small caches the rest is a tenth of that, for dense dirtying twice as much.
    let wanted = UInt64(most) * (8 << 20)
    if let available = HostMemory.availableByteCount, available < wanted {
      throw UsageError(message: "\(most) GiB take \(wanted >> 20) MiB, and \(available >> 20) MiB are available")
    }
    print(
      "An iteration with one page in \(dirtyStep) dirty, cache \(cachePercent) %, one thread, medians of \(roundCount), in ms.\n"
    )
    var times: [(size: Int, medians: [Double])] = []
    var bytes: [(size: Int, counts: [(name: String, bytes: Int)])] = []
    let table = Table(
      columns: [.figure("GiB", 6)] + MetadataRound.steps.map { .figure($0, 10) } + [
        .figure("all", 10), .figure("per GiB", 10),
      ])
    table.head()
    for size in sizes {
      var round = try MetadataRound(
        gibibytes: size, dirtyShare: 1 / Double(dirtyStep), cacheShare: Double(cachePercent) / 100)
      var samples: [[Double]] = Array(repeating: [], count: MetadataRound.steps.count)
      for number in 0..<roundCount + 2 {
        for (step, taken) in round.run().enumerated() where number >= 2 { samples[step].append(taken / 1e6) }
      }
      let medians = samples.map { Timing.median($0) }
      let all = medians.reduce(0, +)
      table.row(["\(size)"] + medians.map { $0.decimal(3) } + [all.decimal(3), (all / Double(size)).decimal(4)])
      times.append((size, medians))
      bytes.append((size, round.byteCounts))
    }
    model(times, bytes)
  }

  private func model(
    _ times: [(size: Int, medians: [Double])], _ bytes: [(size: Int, counts: [(name: String, bytes: Int)])]
  ) {
    // What fits into the processor's caches costs less, and says nothing about what does not.
    let large = times.indices.filter { times[$0].size >= 16 }
    let fitted = large.count > 1 ? large : Array(times.indices)
    let from = fitted.map { times[$0].size }.min() ?? 1
    print("\nTime of a guest of G GiB, from \(from) GiB on: base + slope · G")
    let table = Table(columns: [
      .text("step", 14), .figure("base ms", 10), .figure("ms/GiB", 10), .figure("worst", 9), .figure("1 TiB, ms", 11),
    ])
    table.head()
    func row(_ name: String, _ y: (Int) -> Double) {
      let fit = LinearModel(fitted.map { (Double(times[$0].size), y($0)) })
      table.row([
        name, fit.base.decimal(4), fit.slope.decimal(4), "\((fit.worst * 100).decimal(0)) %",
        (fit.base + fit.slope * 1024).decimal(1),
      ])
    }
    for (step, name) in MetadataRound.steps.enumerated() { row(name) { times[$0].medians[step] } }
    row("all") { times[$0].medians.reduce(0, +) }
    print("\nMemory")
    let sizes = Table(columns: [.text("of", 14), .figure("bytes/GiB", 12), .figure("1 TiB, MiB", 12)])
    sizes.head()
    guard let largest = bytes.last else { return }
    for (name, count) in largest.counts + [("all", largest.counts.reduce(0) { $0 + $1.bytes })] {
      let each = Double(count) / Double(largest.size)
      sizes.row([name, each.decimal(0), (each * 1024 / 1048576).decimal(1)])
    }
  }
}
