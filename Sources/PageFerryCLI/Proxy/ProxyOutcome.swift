// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import FoundationEssentials
import PageFerry
import QEMUBridge

/// Runs one half of a proxy pair under signals, prints what it has done, and ends the process with its exit code.
enum ProxyOutcome {
  static func of(
    _ options: CommonOptions, cancel: @escaping @Sendable (String) -> Void,
    now: @escaping @Sendable () -> [RelayReport], run: () -> [RelayReport]
  ) throws {
    Outcome.onTermination(cancel)
    let reports = run()
    if options.json {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
      print(String(decoding: try encoder.encode(reports), as: UTF8.self))
    } else {
      for report in reports where report.failure == nil { print(text(report)) }
    }
    if let failed = reports.first(where: { $0.failure != nil }) { throw Outcome.exit(failed) }
  }

  /// What a connection's stream took, for people.
  static func text(_ report: RelayReport) -> String {
    let seconds = "\(Decimal.fixed(report.seconds, digits: 2)) s"
    var lines = [
      "migrated in \(seconds): \(ByteCount.format(report.streamBytes)) of QEMU's stream, "
        + "\(ByteCount.format(report.wireBytes)) on the wire"
    ]
    switch report.mode {
    case .verbatim: lines.append("  passed on as it was")
    case .pages, .direct:
      let pages = report.pages
      var kinds = [("data", pages.data), ("delta", pages.delta), ("zero", pages.zero), ("unchanged", pages.unchanged)]
      if report.role == .source { kinds.append(("overtaken", pages.superseded)) }
      lines.append(
        "  pages: " + kinds.filter { $0.1 > 0 }.map { "\($0.0) \($0.1)" }.joined(separator: ", ")
          + (report.mode == .direct ? "; straight into QEMU's memory" : ""))
      if report.role == .source {
        lines.append("  at most \(ByteCount.format(UInt64(report.highestWindowBytes))) under way")
      }
    }
    return lines.joined(separator: "\n")
  }
}

extension Outcome {
  /// What a report that is not of a completed relay ends with: one line, and its exit code.
  static func exit(_ report: RelayReport) -> ExitCode {
    exit(
      code: report.failure?.code ?? FailureCode.internal.rawValue, reason: report.failure?.reason ?? "",
      phase: report.phase)
  }
}
