// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import HostSystem
import Logging
import PageFerry

/// `pageferry receive`.
struct ReceiveCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "receive", abstract: "Wait for a sender and take its guest's memory.",
    discussion: """
      Takes one migration and ends. The image is written as <output>.pageferry-partial and gets its name only when \
      everything has arrived and a digest of every block agrees; if anything goes wrong, the partial file is removed \
      and the sender still has its own. Without --map, several RAM blocks are written one after the other, and their \
      map is left in <output>.map.json.
      """)

  @Argument(help: "Where to write the raw RAM image; leave out with --discard.")
  var output: String?

  @Option(
    help: ArgumentHelp(
      "Where to listen: host:port, [address]:port or unix:/path. Default: 127.0.0.1:4410.", valueName: "address"),
    transform: Endpoint.init(parsing:))
  var listen: Endpoint = .tcp(host: "127.0.0.1", port: 4410)

  @Flag(help: "Listen beyond this host although the connection is neither encrypted nor authenticated.")
  var insecure = false

  @Flag(help: "Receive into anonymous memory, verify, and drop it: to try a link without a disk.")
  var discard = false

  @Flag(inversion: .prefixedNo, help: "With --discard: fault memory in ahead of the pages, in the background.")
  var populate = false

  @Option(help: ArgumentHelp("JSON memory map that the guest must match (docs/OPERATIONS.md).", valueName: "file"))
  var map: String?

  @Flag(help: "Take the place of an output that exists.")
  var replace = false

  @Flag(help: "Have the image on stable storage before the sender lets go (fsync).")
  var sync = false

  @Option(help: ArgumentHelp("Seconds to wait for a sender; for ever without this.", valueName: "seconds"))
  var wait: Int?

  @Option(help: ArgumentHelp("Most guest memory to accept.", valueName: "size"))
  var memoryLimit: ByteAmount?

  @Option(help: ArgumentHelp("Most memory for what a sender's codec remembers.", valueName: "size"))
  var historyLimit = ByteAmount(bytes: 1 << 30)

  @Option(
    help: ArgumentHelp(
      "Threads that decode for each channel which outruns its own: 0 to \(ReceivingPipeline.decoderCountMax), or auto: "
        + "from the CPUs that channels leave free.",
      valueName: "n"))
  var decoders = DecoderChoice.automatic

  @OptionGroup var common: CommonOptions

  func validate() throws {
    guard (output == nil) == discard else {
      throw ValidationError("Name an output file, or give --discard (not both).")
    }
    guard (wait ?? 1) > 0 else { throw ValidationError("--wait takes a positive number of seconds.") }
  }

  func run() throws {
    common.placement.restrictProcess()
    let logger = ConsoleLogHandler.logger(quiet: common.quiet)
    let (listener, memoryMap): (Listener, MemoryMap?)
    do throws(GuestMemoryError) {
      if let output { try ImageDestination.check(path: output, options: imageOptions(writeMap: false)) }
      if let map { memoryMap = try MemoryMap(path: map) } else { memoryMap = nil }
    } catch { throw Outcome.exit(MigrationFailure(output: error)) }
    do throws(TransportError) { listener = try Listener(endpoint: listen, options: common.socketOptions) } catch {
      throw Outcome.exit(MigrationFailure(listening: error))
    }
    try Self.refuseToListenAbroad(listener, insecure: insecure)
    let session = DestinationSession(
      listener: listener,
      configuration: .init(
        waitLimit: wait.map { .seconds($0) }, expectedBlocks: memoryMap?.blocks,
        memoryLimit: memoryLimit?.bytes ?? BlockTable.totalByteCountMax,
        historyLimit: historyLimit.bytes, silenceLimit: .seconds(common.deadPeer), decoderCount: decoders.count,
        digestThreadCount: min(8, common.placement.workerCount), placement: common.placementOptions,
        software: PageFerry.software),
      logger: logger,
      makeGuest: { [output, discard, populate, common] (blocks) throws(GuestMemoryError) in
        if discard {
          return StillArrival(
            try Self.anonymousMemory(blocks, populate: populate, placement: common.placementOptions))
        }
        let map: MemoryMap
        if let memoryMap { map = memoryMap } else { map = try MemoryMap(consecutive: blocks.blocks) }
        let options = imageOptions(writeMap: memoryMap == nil && blocks.blocks.count > 1)
        return StillArrival(try ImageDestination(path: output ?? "", map: map, options: options))
      })
    logger.info("waiting for a sender on \(listener.endpoint)")
    try Outcome.of(common, statistics: { session.statistics }, cancel: { session.cancel($0) }, run: { session.run() })
  }

  private func imageOptions(writeMap: Bool) -> ImageDestination.Options {
    .init(replaceExisting: replace, synchronize: sync, writeMap: writeMap)
  }

  static func refuseToListenAbroad(_ listener: Listener, insecure: Bool) throws {
    guard listener.isLocal || insecure else {
      throw ValidationError(
        "\(listener.endpoint) can be reached from other hosts, and nothing is encrypted or authenticated yet: "
          + "listen on 127.0.0.1 behind a tunnel, or say --insecure on a network that you trust.")
    }
  }

  /// Guest memory, unless the host has not as much to give.
  static func anonymousMemory(
    _ blocks: BlockTable, populate: Bool, placement: PlacementOptions = .init()
  ) throws(GuestMemoryError) -> AnonymousMemory {
    if let available = HostMemory.availableByteCount, blocks.byteCount > available {
      throw .cannotReserve(
        byteCount: blocks.byteCount, reason: "only \(ByteCount.format(available)) is available on this host")
    }
    let thread = populate ? placement.plan { $0.populatorCount = 1 }.populator(0) : .anywhere
    return try AnonymousMemory(blocks: blocks, populateAhead: populate, placement: thread)
  }
}
