// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Bench
import HostSystem
import Logging
import PageFerry

/// `pageferry bench server`.
struct BenchServerCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "server", abstract: "Wait for a bench client, and be the destination of its migrations.",
    discussion: """
      Serves one client and ends, or one after another with --keep. What arrives is dropped: nothing is written to \
      disk. A client can have memory reserved up to --memory-limit, and CPU time while it is connected; no more.

        pageferry bench server --listen 0.0.0.0:4420 --insecure
      """)

  @Option(
    help: ArgumentHelp("Where to listen: host:port or [address]:port. Default: 127.0.0.1:4420.", valueName: "address"),
    transform: Endpoint.init(parsing:))
  var listen: Endpoint = .tcp(host: "127.0.0.1", port: 4420)

  @Flag(help: "Listen beyond this host although the connection is neither encrypted nor authenticated.")
  var insecure = false

  @Option(
    help: ArgumentHelp("Port for streams and migrations, for a firewall; 0: any that is free.", valueName: "port"))
  var dataPort: UInt16 = 0

  @Option(help: ArgumentHelp("Seconds to wait for a client; for ever without this.", valueName: "seconds"))
  var wait: Int?

  @Flag(help: "Serve one client after another, until Ctrl-C.")
  var keep = false

  @Option(
    help: ArgumentHelp(
      "Most guest memory, with what codecs remember, to reserve for a client. Default: half of what is available.",
      valueName: "size"))
  var memoryLimit: ByteAmount?

  @OptionGroup var common: CommonOptions

  func validate() throws {
    guard (wait ?? 1) > 0 else { throw ValidationError("--wait takes a positive number of seconds.") }
    guard case .tcp = listen else { throw ValidationError("bench measures TCP: --listen takes host:port.") }
    guard !common.json else { throw ValidationError("The report is the client's: --json belongs there.") }
  }

  func run() throws {
    let logger = ConsoleLogHandler.logger(quiet: common.quiet)
    let cancelled = Cancellation()
    Outcome.onTermination { cancelled.cancel($0) }
    let listener: Listener
    do throws(TransportError) { listener = try Listener(endpoint: listen, options: common.socketOptions) } catch {
      throw Outcome.exit(MigrationFailure(listening: error))
    }
    try ReceiveCommand.refuseToListenAbroad(listener, insecure: insecure)
    let limit = memoryLimit?.bytes ?? (HostMemory.availableByteCount ?? 1 << 30) / 2
    let server = BenchServer(
      listener: listener,
      configuration: .init(
        dataPort: dataPort, memoryLimit: limit, waitLimit: wait.map { .seconds($0) }, keep: keep,
        socketOptions: common.socketOptions, software: PageFerry.software),
      log: { logger.info("\($0)") })
    cancelled.onCancel { server.cancel($0) }
    logger.info(
      "a client gets up to \(ByteCount.format(limit)) of memory; waiting for a client on \(listener.endpoint)")
    if let failure = server.run() { throw Outcome.exit(failure) }
  }
}
