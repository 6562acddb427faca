// SPDX-License-Identifier: Apache-2.0
import ArgumentParser

/// `pageferry bench`.
struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Measure two hosts and the link between them, and say which options to use.",
    discussion: """
      No root is needed. On the two hosts:

        there:  pageferry bench server --listen 0.0.0.0:4420 --insecure
        here:   pageferry bench client there:4420 --html report.html

      Both on one host, to see what it is like:

        pageferry bench server
        pageferry bench client 127.0.0.1:4420 --budget 30 --memory 256MiB

      docs/BENCH.md says what is measured, and how to read it.
      """,
    subcommands: [BenchServerCommand.self, BenchClientCommand.self, BenchContentCommand.self])
}
