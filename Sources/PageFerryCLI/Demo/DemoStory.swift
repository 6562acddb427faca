// SPDX-License-Identifier: Apache-2.0
import PageFerry
import Workload

/// What happened, in a paragraph.
enum DemoStory {
  /// For whoever sent the guest.
  static func tell(_ report: MigrationReport, plan: WorkloadPlan, proof: DemoProof?) -> String {
    var sentences: [String] = []
    let guest = ByteCount.format(report.bytes.guest)
    sentences.append(
      "A guest of \(guest) (\(plan)) moved in \(seconds(report.seconds.total)) while it ran: "
        + "\(ByteCount.format(report.bytes.wire)) travelled, "
        + "\(percent(Double(report.bytes.wire), of: Double(report.bytes.guest))) of its memory.")
    if let live = report.live {
      sentences.append(iterations(live.iterations))
      if let use = live.deltaCache, use.pages > 0 {
        sentences.append(
          "\(use.pages) pages went as deltas of \(use.bytes / use.pages) bytes on the wire, from a cache of "
            + "\(ByteCount.format(UInt64(use.cacheSize))) that had \(percent(Double(use.hits), of: Double(use.hits + use.cacheMiss))) "
            + "of the pages asked for.")
      }
      if let downtime = live.downtime { sentences.append(standstill(downtime)) }
    }
    if let proof { sentences.append(tell(proof)) }
    return wrapped(sentences.joined(separator: " "))
  }

  /// For whoever took it.
  static func tell(_ proof: DemoProof) -> String {
    guard proof.isSound else {
      return "The guest is DAMAGED: " + proof.faults.joined(separator: "; ") + "."
    }
    return
      "The guest ran on for \(seconds(proof.ranFor)) at the destination and wrote \(proof.writesHere) pages; then all "
      + "\(proof.pagesChecked) pages of its memory were what its writers know them to be, and its \(proof.writes) writes "
      + "are all accounted for: nothing was lost or torn."
  }

  private static func iterations(_ all: [IterationReport]) -> String {
    guard all.count > 1 else { return "One pass was enough." }
    let again = all.dropFirst().reduce(0) { $0 + $1.donePages }
    return "It took \(all.count) iterations, the last one with the guest paused; after the first, \(again) pages were "
      + "looked at again."
  }

  private static func standstill(_ downtime: Downtime) -> String {
    func part(_ name: String, _ value: Double) -> String { "\(name) \(Decimal.fixed(value, digits: 1))" }
    return "The guest stood still for \(Decimal.fixed(downtime.milliseconds, digits: 1)) ms ("
      + [
        part("pause", downtime.pause), part("sync", downtime.sync),
        part("the last \(downtime.pages) pages and its state", downtime.transfer), part("commit", downtime.commit),
        part("resume", downtime.resume),
      ].joined(separator: ", ") + ")."
  }

  private static func seconds(_ value: Double) -> String { "\(Decimal.fixed(value, digits: value < 10 ? 2 : 1)) s" }

  private static func percent(_ part: Double, of whole: Double) -> String {
    whole > 0 ? "\(Decimal.fixed(part * 100 / whole, digits: 0)) %" : "–"
  }

  /// Lines of at most 96 columns.
  private static func wrapped(_ text: String) -> String {
    var lines: [String] = []
    var line = ""
    for word in text.split(separator: " ") {
      if !line.isEmpty, line.count + 1 + word.count > 96 {
        lines.append(line)
        line = ""
      }
      line += (line.isEmpty ? "" : " ") + word
    }
    return (lines + [line]).joined(separator: "\n")
  }
}
