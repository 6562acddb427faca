// SPDX-License-Identifier: Apache-2.0
import HostSystem
import PageModel

/// `memory`: the kernels over memory that no cache holds, next to plain reads, copies and comparisons of it.
struct MemoryComparison {
  static let usage = """
    usage: pageferry-benchmarks memory [OPTION VALUE]...
             --mebibytes N      size of each of four regions (1024); several times the last-level cache
             --rounds N         measured rounds, after one that is thrown away (9)
             --threads A,B      (1,2, or 1 on a single CPU)
             --pages A,B        of small and huge (both)
             --peer PATH.so     another project's kernels as well; perf/peers/README.md
    """

  private let pageCount: Int
  private let roundCount: Int
  private let threadCounts: [Int]
  private let pagings: [Region.Paging]
  private let peer: Peer?

  init(_ arguments: some Sequence<String>) throws {
    let options = try Options(arguments, names: ["mebibytes", "rounds", "threads", "pages", "peer"])
    guard options.words.isEmpty else { throw UsageError(message: "memory takes options only") }
    pageCount = try options.number("mebibytes", default: 1024, in: 1...1 << 20) * 256
    roundCount = try options.number("rounds", default: 9, in: 1...1000)
    let cpuCount = HostThread.allowedCPUs().count
    threadCounts = try options.numbers("threads", default: cpuCount > 1 ? [1, 2] : [1], in: 1...max(1, cpuCount))
    var pagings: [Region.Paging] = []
    for name in options.list("pages", default: Region.Paging.allCases.map(\.rawValue)) {
      guard let paging = Region.Paging(rawValue: name) else {
        throw UsageError(message: "--pages: '\(name)' is neither small nor huge")
      }
      pagings.append(paging)
    }
    self.pagings = pagings
    peer = try options.text("peer").map { try Peer(path: $0) }
  }

  func run() throws {
    let wanted = 4 * pageCount * PageGeometry.pageByteCount
    if let available = HostMemory.availableByteCount, available < UInt64(wanted) {
      throw UsageError(message: "four regions take \(wanted >> 20) MiB, and \(available >> 20) MiB are available")
    }
    print("\(pageCount / 256) MiB per region, medians of \(roundCount) interleaved rounds. GB/s: bytes read.\n")
    for paging in pagings {
      let memory = try WarmMemory(pageCount: pageCount, paging, threadCount: threadCounts.max() ?? 1)
      let share = Double(Region.hugeByteCount) / Double(wanted) * 100
      for threadCount in threadCounts {
        let threads = threadCount == 1 ? "1 thread" : "\(threadCount) threads"
        print("\(paging.rawValue) pages (\(share.decimal(0)) % of the memory is in huge ones), \(threads)")
        measure(memory.lines(peer), threadCount)
        print("")
      }
    }
  }

  private func measure(_ lines: [MemoryLine], _ threadCount: Int) {
    let table = Table(columns: [
      .text("operation", 26), .text("by", 16), .figure("ns/page", 9), .figure("GB/s", 8), .figure("of read", 9),
      .figure("x", 8), .text("  as fast as", 14),
    ])
    table.head()
    let samples = Rounds.measure(
      lines.map(\.pass), pageCount: pageCount, threadCount: threadCount, roundCount: roundCount)
    for (index, line) in lines.enumerated() {
      let bytes = Double(line.pagesRead * PageGeometry.pageByteCount)
      // Both read everything: the ratio of rates, not of times, where a line reads two pages for each page.
      let ofRead = samples.speedUp(index, over: 0) * Double(line.pagesRead)
      var cells = [
        line.operation, line.pass.label, samples.median(index).asNanoseconds,
        (bytes / samples.median(index)).decimal(2), ofRead.decimal(2),
      ]
      if let reference = line.reference {
        cells += [samples.speedUp(index, over: reference).decimal(2), "  " + lines[reference].pass.label]
      }
      table.row(cells)
    }
  }
}

/// A row of the table.
struct MemoryLine {
  let operation: String
  let pass: Pass
  /// Pages that are read for each page that is gone over.
  var pagesRead = 1
  /// The line that `x` compares it with.
  var reference: Int?
}
