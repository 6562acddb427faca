// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Convergence
import GuestMemory
import PageFerry

/// `pageferry plan`.
struct PlanCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan", abstract: "Say beforehand whether a guest that runs can be moved, and how long it takes.",
    discussion: """
      Plays a migration as the engine does it, and prints its iterations, the total time, the downtime, a verdict, and \
      the options to use. What the guest writes comes from one of three places:

        a figure:  pageferry plan --memory 16GiB --dirty-rate 400MB --working-set 2GiB --link 1Gbit
        a trace:   pageferry plan --trace guest.ndjson --link 1Gbit
        a process: pageferry plan --pid 4711 --link 1Gbit

      'pageferry demo --record FILE' records a trace of the demo's guest. Watching a process needs soft-dirty bits in \
      the kernel (CONFIG_MEM_SOFT_DIRTY) and the rights to look into it; while it is watched, its first write to each \
      page takes a microsecond longer.

      Exit codes: 0 it converges, 3 it does not, 4 the trace cannot be used or the process not be watched.
      """)

  /// Exit codes beyond those of a migration.
  static let noConvergence = ExitCode(3)
  static let noFigures = ExitCode(4)

  @OptionGroup(title: "The guest") var guest: PlanGuestOptions
  @OptionGroup(title: "The way") var way: PlanWayOptions
  @OptionGroup(title: "Convergence") var policies: PolicyOptions
  @Flag(help: "Print the forecast as JSON on standard output.") var json = false

  func run() throws {
    let report = try report()
    print(try json ? ReportTable.line(PlanObject(report)) : report.text)
    if !report.outcome.converges { throw Self.noConvergence }
  }

  private func report() throws -> PlanReport {
    let policy = way.encoding.codec
    var input: ForecastInput
    var costs = PlanCosts(
      codec: policy == .automatic ? "zstd:1" : policy.description, ratio: way.ratio, hotRatio: way.hotRatio)
    let basis: String
    if let trace = try trace() {
      input = ForecastInput(
        memoryPages: trace.memoryPages, curve: trace.curve, linkBytesPerSecond: Double(way.link.bytesPerSecond))
      input.spanCurve = trace.spanCurve
      input.writtenFrom = trace.place?.lowerBound ?? 0
      input.writtenTo = trace.place?.upperBound ?? 1
      let content = trace.content
      input.holePages = (content?.holeShare ?? 0) * trace.memoryPages
      input.zeroPages = (content?.zeroShare ?? (guest.zero ?? 0) / 100) * trace.memoryPages
      if let content {
        costs = PlanCosts(
          sampled: content, policy: policy, cachedShare: cachedShare(trace),
          bytesPerSecond: Double(way.link.bytesPerSecond), workers: way.workers)
        if let ratio = way.ratio { costs.bulkBytes = 4096 / ratio }
        if let ratio = way.hotRatio { costs.hotBytes = 4096 / ratio }
      }
      basis = "as recorded, \(trace.samples.count) samples in \(Decimal.fixed(trace.samples.last?.t ?? 0, digits: 1)) s"
    } else {
      input = figures
      basis = "by the figures given"
    }
    costs.apply(to: &input, workers: way.workers)
    let gibibytes = input.memoryPages * 4096 / Double(1 << 30)
    input.roundTripSeconds = way.rtt / 1000
    input.syncSeconds = 0.0002 + 0.0005 * gibibytes
    input.setupSeconds = 0.02 + 0.01 * gibibytes + 3 * input.roundTripSeconds
    input.downtimeLimitSeconds = Double(way.downtimeLimit) / 1000
    input.steering = policies.forecast
    return PlanReport(
      input: input, outcome: Forecast(input).run(), codec: costs.codec, basis: basis)
  }

  /// Of the pages that a guest writes, the share that the delta cache holds.
  private func cachedShare(_ trace: DirtyTrace) -> Double {
    let pages: Double =
      switch way.deltaCache {
      case .off: 0
      case .bytes(let count): Double(count) / 4096
      case .percent(let share): trace.memoryPages * share / 100
      // It takes what it needs, up to a quarter of guest memory.
      case .automatic: trace.memoryPages / 4
      }
    let workingSet = trace.curve.workingSet
    return workingSet > 0 ? min(1, pages / workingSet) : 1
  }

  private var figures: ForecastInput {
    let pages = Double(guest.memory?.bytes ?? 0) / 4096
    let workingSet = guest.workingSet.map { Double($0.bytes) / 4096 } ?? pages
    let rate = Double(guest.dirtyRate?.bytesPerSecond ?? 0) / 4096
    let curve: DirtyCurve =
      switch guest.order {
      case .random: .random(pagesPerSecond: rate, workingSet: workingSet)
      case .sequential: .sequential(pagesPerSecond: rate, workingSet: workingSet)
      }
    return ForecastInput(
      memoryPages: pages, zeroPages: pages * (guest.zero ?? 0) / 100, curve: curve,
      linkBytesPerSecond: Double(way.link.bytesPerSecond))
  }

  /// The trace that was named, or of the process that was: nil if there are figures.
  private func trace() throws -> DirtyTrace? {
    do {
      if let path = guest.trace { return try TraceFile.read(path) }
      guard let pid = guest.pid else { return nil }
      return try ProcessWatch(pid: pid, memory: guest.memory?.bytes, seconds: guest.seconds, record: guest.record).run()
    } catch {
      Console.shared.print("pageferry: failed: \(error)")
      throw Self.noFigures
    }
  }
}
