// SPDX-License-Identifier: Apache-2.0
import Convergence
import PageFerry

/// A forecast for a person: iterations, a verdict in a sentence, and the options to use.
struct PlanReport {
  let input: ForecastInput
  let outcome: ForecastOutcome
  let codec: String
  /// Where the figures are from.
  let basis: String

  private static let page = 4096.0

  var text: String {
    ([head, "", table, ""] + [totals, ""] + [verdict, settings] + others).joined(separator: "\n")
  }

  private var head: String {
    let rows = [
      ("guest", "\(ByteCount.format(input.memoryPages * Self.page)); \(basis)"),
      (
        "writes",
        "\(rate(input.curve.initialRate * Self.page)) at first, \(ByteCount.format(input.curve.workingSet * Self.page)) "
          + "in the long run"
      ),
      (
        "wire",
        "\(rate(input.linkBytesPerSecond)), \(fixed(input.bulkBytesPerPage, 0)) bytes a page (\(codec)), "
          + "\(fixed(input.hotBytesPerPage, 0)) a page sent again"
      ),
    ]
    return rows.map { "\($0.0)\(String(repeating: " ", count: 8 - $0.0.count))\($0.1)" }.joined(separator: "\n")
  }

  /// The first iterations and the last ones: the others tell nothing new.
  private var table: String {
    let all = outcome.iterations
    let shown = all.count <= 12 ? all.indices.map { $0 } : Array(0..<7) + Array(all.count - 3..<all.count)
    var rows = [["iteration", "pending", "sent", "seconds", "on wire", "dirty after", "downtime then", "throttle"]]
    for (place, index) in shown.enumerated() {
      if place > 0, index > shown[place - 1] + 1 { rows.append(["…", "", "", "", "", "", "", ""]) }
      let one = all[index]
      rows.append([
        "\(one.number)\(one.holdsBack ? " *" : "")", pages(one.pendingPages), pages(one.sentPages),
        fixed(one.seconds, 2),
        ByteCount.format(one.wireBytes), pages(one.dirtiedPages),
        "\(fixed(one.expectedDowntimeSeconds * 1000, 0)) ms", "\(fixed(one.throttlePercent, 0)) %",
      ])
    }
    let table = TextTable(
      columns: [
        .left(11), .right(10), .right(10), .right(9), .right(11), .right(13), .right(15), .right(10),
      ]
    ).text(rows)
    return table + (all.contains { $0.holdsBack } ? "\n* hot pages wait" : "")
  }

  private var totals: String {
    guard let downtime = outcome.downtime else {
      if input.steering.cancelsAtDeadline, let deadline = input.steering.deadlineSeconds {
        return "cancelled at the deadline of \(seconds(deadline)), in iteration \(outcome.iterations.count)"
      }
      return "after \(outcome.iterations.count) iterations and \(seconds(outcome.totalSeconds)): no end in sight"
    }
    let throttled =
      outcome.meanThrottlePercent > 0.5 ? ", throttled by \(fixed(outcome.meanThrottlePercent, 0)) % on average" : ""
    return "total \(seconds(outcome.totalSeconds)), downtime \(fixed(downtime.seconds * 1000, 0)) ms "
      + "(sync \(fixed(downtime.sync * 1000, 1)), last pages \(fixed(downtime.transfer * 1000, 1)), hand-over "
      + "\(fixed(downtime.handOver * 1000, 1))), \(ByteCount.format(outcome.wireBytes)) on the wire\(throttled)"
  }

  /// One sentence.
  var verdict: String {
    if let needed = outcome.secondsNeeded {
      return "It would converge, in \(seconds(needed)), but the deadline comes before." + atDeadline
    }
    guard let shortfall = outcome.shortfall else {
      return "It converges: \(outcome.iterations.count) iterations, then a pause of "
        + "\(fixed((outcome.downtime?.seconds ?? 0) * 1000, 0)) ms."
    }
    var needs: [String] = []
    if let percent = shortfall.throttlePercentNeeded { needs.append("a throttle of \(fixed(percent, 0)) %") }
    if let factor = shortfall.linkFactorNeeded { needs.append("\(fixed(factor, 1))× the bandwidth") }
    needs.append("a downtime of \(seconds(shortfall.downtimeSecondsNeeded))")
    return "It cannot converge: dirty \(rate(shortfall.dirtiedBytesPerSecond)) against "
      + "\(rate(shortfall.carriedBytesPerSecond)) of memory that can be sent; it needs "
      + needs.joined(separator: ", or ") + "." + atDeadline
  }

  private var atDeadline: String {
    guard let downtime = outcome.downtime else { return "" }
    return " At the deadline it is handed over all the same, with a pause of \(seconds(downtime.seconds))."
  }

  /// What to type; of a migration that does not converge, with the first means that ends it.
  var settings: String {
    guard let remedy = outcome.shortfall?.remedies.first else {
      var steering = input.steering
      if let needed = outcome.secondsNeeded { steering.deadlineSeconds = (needed * 1.2).rounded(.up) }
      return "Use: " + options(steering, input.downtimeLimitSeconds)
    }
    return "Use: " + options(remedy.steering, remedy.downtimeLimitSeconds) + cost(of: remedy)
  }

  /// Other means, a line each.
  private var others: [String] {
    (outcome.shortfall?.remedies ?? []).dropFirst().map {
      let changed = changes($0)
      return "or   " + changed.joined(separator: " ") + cost(of: $0)
    }
  }

  private func options(_ steering: ForecastSteering, _ downtimeLimit: Double) -> String {
    let deltas = input.hotBytesPerPage < input.bulkBytesPerPage / 2 ? ["--delta-cache auto"] : []
    return (["--codec \(codec)", limit(downtimeLimit)] + deltas + steering.options).joined(separator: " ")
  }

  /// Options that are not those of every other means.
  private func changes(_ remedy: ForecastOutcome.Remedy) -> [String] {
    let isLimit = remedy.downtimeLimitSeconds != input.downtimeLimitSeconds
    return (isLimit ? [limit(remedy.downtimeLimitSeconds)] : []) + remedy.steering.options
  }

  private func limit(_ downtime: Double) -> String { "--downtime-limit \(fixed((downtime * 1000).rounded(), 0))" }

  private func cost(of remedy: ForecastOutcome.Remedy) -> String {
    let throttled =
      remedy.meanThrottlePercent > 0.5
      ? ", the guest throttled by \(fixed(remedy.meanThrottlePercent, 0)) % on average" : ""
    return
      " (\(seconds(remedy.totalSeconds)) in all, downtime \(fixed(remedy.downtimeSeconds * 1000, 0)) ms\(throttled))"
  }

  private func pages(_ value: Double) -> String { fixed(value, 0) }
  private func fixed(_ value: Double, _ digits: Int) -> String { Decimal.fixed(value, digits: digits) }
  private func seconds(_ value: Double) -> String { "\(fixed(value, value < 10 ? 2 : 1)) s" }
  /// Decimal megabytes, as links are sold.
  private func rate(_ bytesPerSecond: Double) -> String {
    "\(fixed(bytesPerSecond / 1e6, bytesPerSecond < 10e6 ? 1 : 0)) MB/s"
  }
}

/// A forecast for a program.
struct PlanObject: Encodable {
  let schema = 1
  let converges: Bool
  let verdict: String
  let settings: String
  let codec: String
  let outcome: ForecastOutcome
  let input: ForecastInput

  init(_ report: PlanReport) {
    converges = report.outcome.converges
    verdict = report.verdict
    settings = report.settings
    codec = report.codec
    outcome = report.outcome
    input = report.input
  }
}
