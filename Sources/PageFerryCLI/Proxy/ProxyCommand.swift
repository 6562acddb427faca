// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import HostSystem
import Logging
import PageFerry
import QEMUBridge

/// `pageferry proxy`.
struct ProxyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "proxy", abstract: "Carry the migration of two stock QEMUs: one half beside each.",
    discussion: """
      On the destination's host, where QEMU was started with '-incoming unix:/run/in.sock':

        pageferry proxy destination --listen 0.0.0.0:4411 --connect unix:/run/in.sock

      On the source's host, and then 'migrate unix:/run/out.sock' in QEMU's monitor:

        pageferry proxy source --listen unix:/run/out.sock --to destination:4411

      The pair takes QEMU's stream apart, and sends the pages over its own lanes: newest versions only, as deltas, \
      compressed, over several connections. docs/QEMU.md has recipes, and what to set in QEMU.
      """,
    subcommands: [ProxySourceCommand.self, ProxyDestinationCommand.self])
}

/// `pageferry proxy source`.
struct ProxySourceCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "source", abstract: "The half beside the source QEMU: takes its stream.")

  @Option(
    help: ArgumentHelp(
      "Where QEMU will connect: unix:/path, host:port, or systemd for a socket that it gives.", valueName: "address"),
    transform: ProxyPlace.init(parsing:))
  var listen: ProxyPlace

  @Option(
    help: ArgumentHelp("The other half: host:port, [address]:port or unix:/path.", valueName: "proxy"),
    transform: Endpoint.init(parsing:))
  var to: Endpoint

  @OptionGroup var transfer: TransferOptions
  @OptionGroup var deltas: DeltaCacheOptions
  @OptionGroup var limit: BandwidthOptions

  @Flag(help: "Keep all pages here, as much memory as the guest uses: then xbzrle may be on in QEMU.")
  var keepRam = false

  @OptionGroup var dial: DialOptions

  @Option(help: ArgumentHelp("Seconds to wait for QEMU; for ever without this.", valueName: "seconds"))
  var wait: Int?

  @Flag(help: "With --http: beyond this host, although whoever connects can read along.")
  var insecure = false

  @OptionGroup(title: "Watching it") var telemetry: TelemetryOptions
  @OptionGroup var control: ControlOptions
  @OptionGroup var common: CommonOptions

  func validate() throws {
    guard (wait ?? 1) > 0 else { throw ValidationError("--wait takes a positive number of seconds.") }
  }

  func run() throws {
    common.placement.restrictProcess()
    let logger = ConsoleLogHandler.logger(quiet: common.quiet)
    let listener: Listener
    do throws(TransportError) { listener = try listen.listener(common.socketOptions) } catch {
      throw Outcome.exit(MigrationFailure(listening: error))
    }
    let departure = RelayDeparture(
      listener: listener, waitLimit: wait.map { .seconds($0) },
      configuration: .init(
        endpoint: to, socketOptions: common.socketOptions, connectTimeout: dial.limit,
        channelCount: transfer.channels, laneCount: transfer.laneCount(common.placement), codec: transfer.codec,
        deltaCache: deltas.deltaCache, bandwidthLimit: limit.bytesPerSecond,
        keepsAll: keepRam, placement: common.placementOptions, software: PageFerry.software),
      logger: logger)
    logger.info("waiting for QEMU on \(listener.endpoint)")
    try ProxyOutcome.of(
      departure, title: "QEMU on \(listener.endpoint), to \(to)",
      .init(common: common, telemetry: telemetry, control: control, insecure: insecure))
  }
}

/// `pageferry proxy destination`.
struct ProxyDestinationCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "destination", abstract: "The half beside the destination QEMU: gives it its stream.")

  @Option(
    help: ArgumentHelp(
      "Where the other half will connect: host:port, unix:/path, or systemd for a socket that it gives.",
      valueName: "address"),
    transform: ProxyPlace.init(parsing:))
  var listen: ProxyPlace

  @Option(
    help: ArgumentHelp("Where QEMU listens (-incoming): unix:/path or host:port.", valueName: "address"),
    transform: Endpoint.init(parsing:))
  var connect: Endpoint

  @Flag(help: "Listen, or with --http be read, beyond this host: nothing is encrypted or authenticated.")
  var insecure = false

  @Option(
    help: ArgumentHelp(
      "Write pages straight into QEMU's memory, where that is shared: auto finds it, off, or a file that is the memory.",
      valueName: "mode"))
  var direct = "auto"

  @OptionGroup var dial: DialOptions

  @Option(help: ArgumentHelp("Seconds to wait for the other half; for ever without this.", valueName: "seconds"))
  var wait: Int?

  @Option(help: ArgumentHelp("Most guest memory to accept.", valueName: "size"))
  var memoryLimit: ByteAmount?

  @OptionGroup(title: "Watching it") var telemetry: TelemetryOptions
  @OptionGroup var control: ControlOptions
  @OptionGroup var common: CommonOptions

  func validate() throws {
    guard (wait ?? 1) > 0 else { throw ValidationError("--wait takes a positive number of seconds.") }
  }

  func run() throws {
    common.placement.restrictProcess()
    let logger = ConsoleLogHandler.logger(quiet: common.quiet)
    let listener: Listener
    do throws(TransportError) { listener = try listen.listener(common.socketOptions) } catch {
      throw Outcome.exit(MigrationFailure(listening: error))
    }
    try ReceiveCommand.refuseToListenAbroad(listener, insecure: insecure)
    let mode: DirectMemory = direct == "auto" ? .automatic : direct == "off" ? .off : .file(path: direct)
    let destination = RelayDestination(
      listener: listener,
      configuration: .init(
        hypervisor: connect, connectTimeout: dial.limit, waitLimit: wait.map { .seconds($0) },
        direct: mode,
        memoryLimit: memoryLimit?.bytes ?? BlockTable.totalByteCountMax, silenceLimit: .seconds(common.deadPeer),
        placement: common.placementOptions, software: PageFerry.software),
      logger: logger)
    logger.info("waiting for the other half on \(listener.endpoint)")
    try ProxyOutcome.of(
      destination, title: "from \(listener.endpoint) to QEMU on \(connect)",
      .init(common: common, telemetry: telemetry, control: control, insecure: insecure))
  }
}

/// Where a proxy listens.
enum ProxyPlace {
  case endpoint(Endpoint)
  /// A socket that systemd has opened.
  case inherited

  init(parsing text: String) throws {
    self = text == "systemd" ? .inherited : .endpoint(try Endpoint(parsing: text))
  }

  func listener(_ options: SocketOptions) throws(TransportError) -> Listener {
    switch self {
    case .endpoint(let endpoint): try Listener(endpoint: endpoint, options: options)
    case .inherited: try Listener(inherited: options)
    }
  }
}
