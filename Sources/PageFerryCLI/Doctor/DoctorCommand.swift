// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import FoundationEssentials
import PageFerry

/// `pageferry doctor`.
struct DoctorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor", abstract: "Tell what this host can do, and what is missing and how to get it.",
    discussion: """
      Changes nothing. Ends with 0 whatever it finds: nothing that it looks at is indispensable. The plan under \
      'placement' is that of a source with 2 channels; --pin and --cpus show another.
      """)

  @Flag(help: "Print the findings as JSON.")
  var json = false

  @OptionGroup(title: "Threads") var threads: CPUArguments

  func run() throws {
    let findings =
      ProcessorChecks.run() + PlacementChecks(threads).run() + MemoryChecks.run() + KernelChecks.run()
      + NetworkChecks.run() + codecs
    if json {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
      print(String(decoding: try encoder.encode(findings), as: UTF8.self))
    } else {
      print(Self.text(findings))
    }
  }

  private var codecs: [Finding] {
    CodecRegistry.all.map { $0.identity }.map { codec in
      let levels = codec.levelName.map {
        ", \($0) \(codec.levels.lowerBound) to \(codec.levels.upperBound) (default \(codec.defaultLevel))"
      }
      return Finding(
        "codecs", codec.name, codec.advice == nil ? .good : .note, "\(codec.library)\(levels ?? "")",
        advice: codec.advice)
    }
  }

  private static func text(_ findings: [Finding]) -> String {
    var lines = ["PageFerry \(PageFerry.version)"]
    var area = ""
    let width = findings.map { $0.name.count }.max() ?? 0
    for finding in findings {
      if finding.area != area {
        area = finding.area
        lines += ["", area]
      }
      let mark =
        switch finding.state {
        case .good: "ok "
        case .note: "·  "
        case .missing: "-- "
        }
      let padding = String(repeating: " ", count: width - finding.name.count)
      lines.append("  \(mark)\(finding.name)\(padding)  \(finding.value)")
      if let advice = finding.advice { lines.append("     \(String(repeating: " ", count: width))  → \(advice)") }
    }
    return lines.joined(separator: "\n")
  }
}
