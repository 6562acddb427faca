// SPDX-License-Identifier: Apache-2.0
import ArgumentParser

/// `pageferry bench`.
struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Measure two hosts and the link between them.",
    subcommands: [BenchContentCommand.self])
}
