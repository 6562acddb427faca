// SPDX-License-Identifier: Apache-2.0
import Convergence
import HostSystem
import Lanes
import Logging
import PageModel

/// Tells a migration in plain words: a line for each iteration, and what changes or needs advice.
///
/// Belongs to the session's thread.
struct Narrator {
  /// Between two lines about the same matter.
  private static let adviceInterval: UInt64 = 5_000_000_000
  /// More iterations than this a second are told as one.
  private static let iterationInterval: UInt64 = 200_000_000
  /// Misses of the delta cache that are worth a word, and the pages looked up from which on they say something.
  private static let missShare = 0.5
  private static let lookedUpMin: UInt64 = 4096

  private let logger: Logger
  private var verdict = Verdict.Kind.measuring
  private var verdictToldAt: UInt64 = 0
  private var cacheToldAt: UInt64 = 0
  private var iterationToldAt: UInt64 = 0
  private var untold = 0

  init(_ logger: Logger) { self.logger = logger }

  /// An iteration is over.
  mutating func tell(_ iteration: IterationReport, isLast: Bool) {
    let now = HostClock.now()
    guard isLast || iteration.iteration <= 3 || now - iterationToldAt >= Self.iterationInterval else {
      untold += 1
      return
    }
    let skipped = untold > 0 ? " (\(untold) short ones before it are not shown)" : ""
    untold = 0
    iterationToldAt = now
    logger.info("\(iteration.line)\(skipped)")
  }

  /// The delta cache holds too little of what is being written.
  mutating func tellCache(_ iteration: IterationReport, hotBytes: Double, cacheBytes: Int) {
    let looked = iteration.cacheHits + iteration.cacheMisses
    guard cacheBytes > 0, looked >= Self.lookedUpMin, iteration.iteration > 2 else { return }
    let share = Double(iteration.cacheMisses) / Double(looked)
    // A cache that holds everything misses what is written for the first time: nothing to advise.
    guard share >= Self.missShare, hotBytes > Double(cacheBytes) else { return }
    guard HostClock.now() - cacheToldAt >= Self.adviceInterval else { return }
    cacheToldAt = HostClock.now()
    logger.warning(
      """
      cache-miss \(Int((share * 100).rounded())) %: the hot set is ~\(ByteCount.format(hotBytes)), the delta cache \
      \(ByteCount.format(UInt64(cacheBytes))); set at least \(ByteCount.format(hotBytes * 1.25)), or auto
      """)
  }

  /// What is thought of the migration's end, when that has changed.
  mutating func tell(_ new: Verdict, _ reading: ConvergenceReading, isAgain: Bool) {
    // In the bulk stage there is nothing yet that could converge, but what cannot is known early.
    guard new.kind != verdict, new.kind != .measuring, isAgain || new.kind != .converging else { return }
    let now = HostClock.now()
    guard verdictToldAt == 0 || now - verdictToldAt >= Self.adviceInterval else { return }
    (verdict, verdictToldAt) = (new.kind, now)
    let sentence = new.sentence(reading)
    if new.kind == .cannotConverge {
      logger.warning("\(sentence)")
    } else {
      logger.info("\(sentence)")
    }
  }

  func say(_ line: String) { logger.info("\(line)") }
}

extension IterationReport {
  /// What it did, in one line.
  var line: String {
    func rate(_ bytes: Double) -> String { "\(Decimal.fixed(bytes / 1e6, digits: bytes < 1e7 ? 1 : 0)) MB/s" }
    let sent = dataPages + deltaPages + zeroPages
    let wire = seconds > 0 ? Double(wireBytes) / seconds : 0
    let kinds = [("data", dataPages), ("delta", deltaPages), ("zero", zeroPages), ("unchanged", unchangedPages)]
      .filter { $0.1 > 0 }.map { "\($0.0) \($0.1)" }.joined(separator: ", ")
    var parts = ["iteration \(iteration): \(pendingPages) pages pending"]
    if iteration > 1 { parts[0] += ", dirtied at \(rate(dirtyPagesPerSecond * 4096))" }
    parts.append(
      "sent \(sent) in \(Decimal.fixed(seconds, digits: 2)) s" + (kinds.isEmpty ? "" : " (\(kinds))"))
    parts.append("wire \(rate(wire))")
    if wireBytes > 0, sent > 0 {
      parts.append("ratio \(Decimal.fixed(Double(dataPages + deltaPages) * 4096 / Double(wireBytes), digits: 2))")
    }
    if cacheHits + cacheMisses > 0 {
      let share = Double(cacheHits) / Double(cacheHits + cacheMisses)
      parts.append("cache hits \(Decimal.fixed(share * 100, digits: 0)) %")
    }
    parts.append("throttle \(throttlePercent) %")
    if let expectedDowntime { parts.append("expected downtime \(Decimal.fixed(expectedDowntime, digits: 0)) ms") }
    return parts.joined(separator: "; ")
  }
}
