// SPDX-License-Identifier: Apache-2.0
@testable import Bench

/// Values that tests begin with.
enum Sample {
  static let host = HostDescription(
    software: "pageferry/test", kernel: "Linux 6 x86_64", processor: "a <processor> & more", cpus: 4,
    instructions: "AVX2", memory: 8 << 30, memoryAvailable: 4 << 30, hugePages: "madvise", congestionControl: "cubic",
    boot: "abc")

  static let figures = HostFigures(
    readOne: 1e10, readAll: 2e10, copyOne: 5e9, copyAll: 8e9, zeroScan: 1e10, touchHuge: 5e9, touchSmall: 1e9,
    codecs: [CodecFigures(codec: "lz4:1", encode: 5e8, decode: 3e9, ratio: 1.5)])

  static let destination = DestinationFigures(
    completed: true, cpuSeconds: 0.5, decodeSeconds: 0.1, storeSeconds: 0.2)

  static func run(
    seconds: Double = 1, outcome: CellRun.Outcome = .completed, downtime: Double? = nil, wire: UInt64 = 500_000_000
  ) -> CellRun {
    CellRun(
      outcome: outcome, reason: outcome == .completed ? nil : "a \"reason\" <here>", seconds: seconds,
      setupSeconds: 0.01, flowSeconds: seconds - 0.02, downtimeMilliseconds: downtime, iterations: 1,
      guestBytes: 1 << 30, wireBytes: wire, lanes: 2, sourceCPUSeconds: 0.4, readSeconds: 0.1, encodeSeconds: 0.2,
      destination: destination)
  }

  static let hosts = Load.Hosts(
    link: [
      LinkFigures(
        streams: 1, bytesPerSecond: 1e9, segments: 10, retransmitted: 1, roundTripLoaded: 0.001, sourceCPU: 0.5)
    ],
    roundTrip: 0.0001, sourceCPUs: 4, destinationCPUs: 4, areSame: false)

  static let axes = Axes(
    codecs: ["auto", "none", "zstd:1"], channels: [1, 2, 4], workers: [0], contents: ["25:45:30"],
    dirtyRates: [0, 100, 400])

  static func result(_ cell: Cell, _ runs: CellRun...) -> CellResult {
    CellResult(cell: cell, runs: runs, hosts: hosts)
  }

  static func report(_ cells: [CellResult]) -> BenchReport {
    BenchReport(
      peer: "there:4420", budgetSeconds: 60, seconds: 58.2, memory: 1 << 30, seed: 1, axes: axes, client: host,
      server: host, sameHost: false, roundTripSeconds: 0.0001, link: hosts.link, clientFigures: figures,
      serverFigures: figures, cells: cells,
      skipped: [SkippedCell(cell: axes.baseline, reason: "no <time> & no luck")],
      recommendation: Recommendation(cells, baseline: axes.baseline, areSame: false), failure: nil)
  }
}
