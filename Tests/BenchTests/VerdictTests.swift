// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import Bench

@Suite("What a migration waited for") struct LoadTests {
  @Test(
    "By shares alone",
    arguments: [
      (Load(link: 0.97, source: 0.5, destination: 0.5, store: 0.5, roundTrips: 0.1), LimitingResource.link),
      // A full link counts before busy CPUs: with fewer bytes it would be faster.
      (Load(link: 0.86, source: 1, destination: 1, store: 1, roundTrips: 0), .link),
      (Load(link: 0.7, source: 0.65, destination: 0.3, store: 0.9, roundTrips: 0), .link),
      (Load(link: 0.7, source: 0.98, destination: 0.3, store: 0.9, roundTrips: 0), .sourceCPU),
      (Load(link: 0.2, source: 0.98, destination: 0.97, store: 0.9, roundTrips: 0), .sourceCPU),
      (Load(link: 0.3, source: 0.4, destination: 0.95, store: 0.2, roundTrips: 0), .destinationCPU),
      (Load(link: 0.3, source: 0.4, destination: 0.95, store: 0.8, roundTrips: 0), .population),
      (Load(link: 0.3, source: 0.9, destination: 0.9, store: 0.5, roundTrips: 0), .population),
      (Load(link: 0.9, source: 0.9, destination: 0.9, store: 0.5, roundTrips: 0.5), .roundTrips),
      (Load(link: 0.5, source: 0.59, destination: 0.5, store: 0.5, roundTrips: 0.4), .unclear),
      (Load(link: 0, source: 0, destination: 0, store: 0, roundTrips: 0), .unclear),
    ])
  func limits(load: Load, limit: LimitingResource) { #expect(load.limit == limit) }

  private static let cell = Cell(codec: "none", channels: 1, content: "25:45:30")

  @Test("Shares are taken from measured figures")
  func shares() {
    var run = Sample.run(seconds: 1.02)
    run.wireBytes = 900_000_000
    let load = Load(run, cell: Self.cell, hosts: Sample.hosts)
    #expect(abs(load.link - 0.9) < 1e-9)
    // 0.4 s of CPU in 1 s, for two lanes and one sender.
    #expect(abs(load.source - max(0.15, 0.4 / 3)) < 1e-9)
    #expect(abs(load.destination - 0.5) < 1e-9)
    #expect(abs(load.store - 2.0 / 3) < 1e-9)
    #expect(load.limit == .link)
  }

  @Test("A thread that is always busy is a limit, however many CPUs there are")
  func oneThread() {
    var run = Sample.run(seconds: 1.02)
    run.wireBytes = 100_000_000
    run.encodeSeconds = 1.9
    #expect(Load(run, cell: Self.cell, hosts: Sample.hosts).limit == .sourceCPU)
    run.encodeSeconds = 0
    run.destination.cpuSeconds = 0.99
    run.destination.storeSeconds = 0.01
    #expect(Load(run, cell: Self.cell, hosts: Sample.hosts).limit == .destinationCPU)
  }

  @Test("Within one host, CPUs are shared: who takes more of them is the limit")
  func sameHost() {
    var hosts = Sample.hosts
    (hosts.areSame, hosts.sourceCPUs, hosts.destinationCPUs) = (true, 2, 2)
    var run = Sample.run(seconds: 1.02)
    run.wireBytes = 100_000_000
    run.sourceCPUSeconds = 1.1
    run.destination.cpuSeconds = 0.85
    var cell = Self.cell
    cell.channels = 2
    #expect(Load(run, cell: cell, hosts: hosts).limit == .sourceCPU)
    (run.sourceCPUSeconds, run.destination.cpuSeconds) = (0.85, 1.1)
    #expect(Load(run, cell: cell, hosts: hosts).limit == .population)
  }

  @Test("Little memory over a long way is a matter of round trips")
  func farAway() {
    var hosts = Sample.hosts
    hosts.roundTrip = 0.1
    #expect(Load(Sample.run(seconds: 1.2), cell: Self.cell, hosts: hosts).limit == .roundTrips)
    #expect(Load(Sample.run(seconds: 100), cell: Self.cell, hosts: hosts).limit != .roundTrips)
  }

  @Test("A link is as fast as plain TCP with as many streams, or with fewer")
  func linkRate() {
    var hosts = Sample.hosts
    hosts.link = [1, 2, 4].map { streams in
      LinkFigures(
        streams: streams, bytesPerSecond: [1: 2e9, 2: 3e9, 4: 2.5e9][streams] ?? 0, segments: 0, retransmitted: 0,
        roundTripLoaded: 0, sourceCPU: 0)
    }
    #expect(hosts.linkRate(channels: 1) == 2e9 && hosts.linkRate(channels: 3) == 3e9)
    #expect(hosts.linkRate(channels: 8) == 3e9)
    hosts.link = []
    #expect(hosts.linkRate(channels: 1) == 0)
    #expect(Load(Sample.run(), cell: Self.cell, hosts: hosts).link == 0)
  }
}

@Suite("The recommendation") struct RecommendationTests {
  private let base = Sample.axes.baseline

  private func cell(_ codec: String, _ channels: Int, _ rate: Double = 0) -> Cell {
    Cell(codec: codec, channels: channels, content: base.content, dirtyRate: rate)
  }

  private func recommend(_ cells: [CellResult]) -> Recommendation? {
    Recommendation(cells, baseline: base, areSame: false)
  }

  @Test("The fastest comes first, and how much faster than the defaults it is")
  func ranking() throws {
    let found = try #require(
      recommend([
        Sample.result(base, Sample.run(seconds: 2)), Sample.result(cell("none", 4), Sample.run(seconds: 1)),
        Sample.result(cell("zstd:1", 2), Sample.run(seconds: 3)),
      ]))
    #expect(found.ranking.map { $0.options.codec } == ["none", "auto", "zstd:1"])
    #expect(found.options.commandLine == "--codec none --channels 4" && found.speedup == 2)
    #expect(!found.advice.isEmpty)
  }

  @Test("What is faster by no more than noise does not take the defaults' place")
  func noise() throws {
    let cells = [
      Sample.result(base, Sample.run(seconds: 1)), Sample.result(cell("none", 4), Sample.run(seconds: 0.97)),
    ]
    let found = try #require(recommend(cells))
    #expect(found.options == base.options && found.speedup == 1)
    #expect(found.ranking.first?.options.codec == "none")
  }

  @Test("Of those that are equally good, the one with the fewest options")
  func simplest() throws {
    let found = try #require(
      recommend([
        Sample.result(base, Sample.run(seconds: 2)), Sample.result(cell("none", 4), Sample.run(seconds: 1)),
        Sample.result(cell("none", 2), Sample.run(seconds: 1.02)),
      ]))
    #expect(found.options == cell("none", 2).options)
  }

  @Test("Options that do not converge where the defaults do are out, however fast otherwise")
  func notConverging() throws {
    let found = try #require(
      recommend([
        Sample.result(base, Sample.run(seconds: 2)), Sample.result(cell("auto", 2, 400), Sample.run(seconds: 4)),
        Sample.result(cell("none", 2), Sample.run(seconds: 1)),
        Sample.result(cell("none", 2, 400), Sample.run(seconds: 9, outcome: .overtime)),
      ]))
    #expect(found.ranking.map { $0.options.codec } == ["auto"])
  }

  @Test("All guests count, not only the paused one")
  func scenarios() throws {
    let found = try #require(
      recommend([
        Sample.result(base, Sample.run(seconds: 2)), Sample.result(cell("auto", 2, 100), Sample.run(seconds: 1)),
        Sample.result(cell("none", 2), Sample.run(seconds: 1.8)),
        Sample.result(cell("none", 2, 100), Sample.run(seconds: 4)),
      ]))
    #expect(found.options == base.options)
    #expect(abs((found.ranking.last?.relativeTime ?? 0) - (0.9 * 4.0).squareRoot()) < 1e-9)
  }

  @Test("Without the defaults among them there is a ranking, and no speed-up; without anything moved, nothing")
  func incomplete() throws {
    let found = try #require(recommend([Sample.result(cell("none", 4), Sample.run(seconds: 1))]))
    #expect(found.speedup == nil && found.options.codec == "none")
    #expect(recommend([]) == nil)
    #expect(recommend([Sample.result(base, Sample.run(outcome: .failed))]) == nil)
  }

  @Test("A cell counts with its median run; runs that did not end count only if no other did")
  func median() {
    let result = Sample.result(
      base, Sample.run(seconds: 3), Sample.run(seconds: 1), Sample.run(seconds: 0.1, outcome: .failed),
      Sample.run(seconds: 2))
    #expect(result.median.seconds == 2 && result.isCompleted)
    #expect(!Sample.result(base, Sample.run(seconds: 3, outcome: .overtime)).isCompleted)
  }
}
