// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Bench
import Glibc
import HostSystem
import PageFerry
import SystemPackage
import Workload

/// `pageferry bench client`.
struct BenchClientCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "client", abstract: "Measure the way to a bench server, and say which options to use.",
    discussion: """
      Measures the link with plain TCP, memory and codecs of both hosts, and then moves memory to the server again and \
      again, over all combinations of the lists that are given, the most telling first, until the time is up. Ends with \
      a table, what limited each migration, and the options to use. docs/BENCH.md documents the JSON of --json.

        pageferry bench client there:4420
        pageferry bench client there:4420 --budget 300 --memory 8GiB --codecs auto,none,zstd:1 --html report.html
      """)

  @Argument(
    help: ArgumentHelp("The server: host:port or [address]:port.", valueName: "server"),
    transform: Endpoint.init(parsing:))
  var server: Endpoint

  @Option(help: ArgumentHelp("Time for everything.", valueName: "seconds"))
  var budget = 60.0

  @Option(help: ArgumentHelp("Memory of the guest that is moved. A slow link wants less of it.", valueName: "size"))
  var memory = ByteAmount(bytes: 1 << 30)

  @Option(
    help: ArgumentHelp("Move the memory in this raw image, paused, instead of made-up content.", valueName: "file"))
  var image: String?

  @OptionGroup(title: "What is tried") var matrix: MatrixOptions

  @Option(help: ArgumentHelp("Another seed, other content.", valueName: "n"))
  var seed: UInt64 = 1

  @Option(help: ArgumentHelp("Write a report with plots; takes the place of a file that exists.", valueName: "file"))
  var html: String?

  @OptionGroup(title: "General") var common: CommonOptions

  func validate() throws {
    guard case .tcp = server else { throw ValidationError("bench measures TCP: the server is host:port.") }
    guard (1...86400).contains(budget) else { throw ValidationError("--budget takes 1 to 86400 seconds.") }
    guard memory.bytes > 0, memory.bytes.isMultiple(of: 4096), memory.bytes <= BlockTable.totalByteCountMax else {
      throw ValidationError("--memory takes a multiple of 4 KiB, at most 64 TiB.")
    }
  }

  func run() throws {
    let cancelled = Cancellation()
    // Before any other thread: they would take the signals.
    Outcome.onTermination { cancelled.cancel($0) }
    let byteCount = try imageByteCount() ?? memory.bytes
    let axes = matrix.axes(hasImage: image != nil)
    try checkMemory(byteCount, axes)
    let client = BenchClient(
      .init(
        endpoint: server, socketOptions: common.socketOptions, budget: budget, memory: byteCount, seed: seed,
        imagePath: image, axes: axes, software: PageFerry.software))
    cancelled.onCancel { client.cancel($0) }
    let console = Console.shared
    let ticker = Ticker(every: console.isTerminal ? 200_000_000 : 5_000_000_000) {
      let line = BenchTables.progress(client.progress)
      if console.isTerminal { console.showProgress(line) } else { console.print("pageferry: \(line)") }
    }
    if !common.quiet { ticker.start() }
    let report = client.run()
    ticker.stop()
    console.clearProgress()
    try show(report)
  }

  private func show(_ report: BenchReport) throws {
    if common.json { print(report.json()) } else if report.server != nil { print(BenchTables.text(report)) }
    if let html {
      do throws(Errno) { try Self.write(BenchPage.html(report), to: html) } catch {
        throw Outcome.exit(MigrationFailure(.outputFailed, "cannot write '\(html)': \(error)"))
      }
      if !common.json { print("\nReport with plots: \(html)") }
    }
    guard let failure = report.failure else { return }
    throw Outcome.exit(
      MigrationFailure(
        FailureCode(rawValue: failure.code) ?? .internal, failure.reason, isFromPeer: failure.fromPeer))
  }

  private func imageByteCount() throws -> UInt64? {
    guard let image else { return nil }
    do throws(GuestMemoryError) { return try ImageSource(path: image, map: nil).blocks.byteCount } catch {
      throw Outcome.exit(MigrationFailure(input: error))
    }
  }

  /// Every content is held, and one guest that runs beside.
  private func checkMemory(_ byteCount: UInt64, _ axes: Axes) throws {
    let held = UInt64(axes.contents.count + (axes.dirtyRates.contains { $0 > 0 } ? 1 : 0))
    guard let available = HostMemory.availableByteCount, byteCount > available / held else { return }
    throw Outcome.exit(
      MigrationFailure(
        .memoryUnavailable,
        "\(held) times \(ByteCount.format(byteCount)) are held at once, and \(ByteCount.format(available)) is available: "
          + "give a smaller --memory, or fewer --mix"))
  }

  private static func write(_ text: String, to path: String) throws(Errno) {
    do {
      let file = try FileDescriptor.open(
        FilePath(path), .writeOnly, options: [.create, .truncate, .closeOnExec], permissions: .init(rawValue: 0o644))
      try file.closeAfter { _ = try file.writeAll(text.utf8) }
    } catch { throw (error as? Errno) ?? .ioError }
  }
}
