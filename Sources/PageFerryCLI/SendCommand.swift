// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Control
import HostSystem
import PageFerry
import Telemetry

/// `pageferry send`.
struct SendCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "send", abstract: "Send a raw RAM image to a waiting receiver.",
    discussion: """
      The image stays as it is. Holes of a sparse file are never read. Pages are classified (zero or data), data \
      is compressed up to 384 KiB at a time, and travels over several TCP connections.

      The codec 'auto' measures link and CPU while it runs, and gives each lane what moves most memory: nothing on a \
      fast link, zstd that remembers what it sent on a slow one.
      """)

  @Argument(help: "The raw RAM image: a file or a block device, a multiple of 4096 bytes.")
  var image: String

  @Argument(
    help: ArgumentHelp("The receiver: host:port, [address]:port or unix:/path.", valueName: "receiver"),
    transform: Endpoint.init(parsing:))
  var receiver: Endpoint

  @Option(
    help: ArgumentHelp(
      "JSON memory map, if the image holds several RAM blocks (docs/OPERATIONS.md).", valueName: "file"))
  var map: String?

  @OptionGroup var transfer: TransferOptions

  @Option(
    help: ArgumentHelp(
      "Memory on each side for what 'auto' and 'zstd-long' remember of the pages sent.", valueName: "size"))
  var history = ByteAmount(bytes: 512 << 20)

  @Flag(help: "Load the image into memory first, as a VMM has it, and send it from there without copying raw pages.")
  var resident = false

  @OptionGroup var limit: BandwidthOptions
  @OptionGroup var dial: DialOptions

  @Option(
    help: ArgumentHelp(
      "Send raw pages of a --resident image without the kernel's copy: on, off, or auto: if that is measured to be cheaper.",
      valueName: "mode"))
  var zeroCopy = ZeroCopyOptions.Mode.automatic

  @Flag(help: "Do not compare a digest of every block before the commit.")
  var noVerify = false

  @Flag(help: "With --http: beyond this host, although whoever connects can read along.")
  var insecure = false

  @OptionGroup(title: "Watching it") var telemetry: TelemetryOptions
  @OptionGroup var control: ControlOptions
  @OptionGroup var common: CommonOptions

  func validate() throws {
    guard (1 << 20...64 << 30).contains(history.bytes) else { throw ValidationError("--history takes 1MiB to 64GiB.") }
  }

  func run() throws {
    common.placement.restrictProcess()
    let source: any SourceMemory
    do throws(GuestMemoryError) {
      let memoryMap: MemoryMap?
      if let map { memoryMap = try MemoryMap(path: map) } else { memoryMap = nil }
      let file = try ImageSource(path: image, map: memoryMap)
      source = resident ? try file.loaded(threadCount: HostThread.allowedCPUs().count) : file
    } catch { throw Outcome.exit(MigrationFailure(input: error)) }
    let session = SourceSession(
      guest: StillGuest(source),
      configuration: .init(
        endpoint: receiver, socketOptions: common.socketOptions, connectTimeout: dial.limit,
        channelCount: transfer.channels, laneCount: laneCount, codec: transfer.codec,
        historyByteCount: history.bytes, bandwidthLimit: limit.bytesPerSecond, verify: !noVerify,
        placement: common.placementOptions, zeroCopy: .init(zeroCopy), software: PageFerry.software))
    let socket = try control.socket()
    defer { socket?.finish(nil) }
    try Outcome.of(
      common, statistics: { session.statistics }, cancel: { session.cancel($0) },
      watch: { try telemetry.start(.init(session), insecure: insecure, quiet: common.quiet) },
      run: {
        socket?.start(session)
        let report = session.run()
        socket?.finish(report)
        return report
      })
  }

  /// Without a codec a lane is faster than its channel; with one, every CPU helps.
  private var laneCount: Int {
    transfer.codec == .none ? transfer.workers ?? transfer.channels : transfer.laneCount(common.placement)
  }
}
