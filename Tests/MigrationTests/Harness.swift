// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import HostSystem
import Logging
import Migration
import PageCodecs
import PageKernels
import PageModel
import Synchronization
import TestSupport
import Testing
import Transport

/// A whole migration between two sessions in this process, over real sockets and real files.
final class Harness: Sendable {
  let folder = TemporaryDirectory()
  let listener: Listener
  let destination: DestinationSession
  private let destinationReport = Mutex<MigrationReport?>(nil)
  private let thread = Mutex<HostThread?>(nil)

  var output: String { folder.file("copy.raw") }
  var partial: String { output + ImageDestination.partialSuffix }

  init(
    endpoint: Endpoint = .tcp(host: "127.0.0.1", port: 0), expectedBlocks: BlockTable? = nil,
    memoryLimit: UInt64 = .max, historyLimit: UInt64 = 1 << 30, waitLimit: Duration? = .seconds(20),
    makeGuest: DestinationSession.GuestMaker? = nil, runsGuests: Bool = false
  ) throws {
    listener = try Listener(endpoint: endpoint, options: .init())
    let path = folder.file("copy.raw")
    let maker: DestinationSession.GuestMaker
    if let makeGuest { maker = makeGuest } else { maker = Self.imageMaker(path) }
    destination = DestinationSession(
      listener: listener,
      configuration: .init(
        waitLimit: waitLimit, expectedBlocks: expectedBlocks, memoryLimit: memoryLimit,
        historyLimit: historyLimit,
        setupTimeout: .milliseconds(1500), silenceLimit: .seconds(2), runsGuests: runsGuests, software: "test"),
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
      makeGuest: maker)
  }

  private static func imageMaker(_ path: String) -> DestinationSession.GuestMaker {
    { (blocks) throws(GuestMemoryError) in
      StillArrival(
        try ImageDestination(
          path: path, map: try MemoryMap(consecutive: blocks.blocks), options: .init(writeMap: blocks.blocks.count > 1))
      )
    }
  }

  func start() {
    thread.withLock {
      $0 = HostThread(name: "destination") { [self] in
        let report = destination.run()
        destinationReport.withLock { $0 = report }
      }
    }
  }

  /// The destination's report, once it has ended by itself.
  func finish() throws -> MigrationReport {
    thread.withLock { thread -> HostThread? in
      defer { thread = nil }
      return thread
    }?.join()
    return try #require(destinationReport.withLock { $0 })
  }

  func source(
    _ memory: any SourceMemory, codec: String = "none", channels: Int = 2, lanes: Int = 2, bandwidth: UInt64 = 0,
    to endpoint: Endpoint? = nil, deadPeerSeconds: Int = 15
  ) throws -> SourceSession {
    SourceSession(
      guest: StillGuest(memory),
      configuration: .init(
        endpoint: endpoint ?? listener.endpoint, socketOptions: .init(deadPeerSeconds: deadPeerSeconds),
        connectTimeout: .seconds(5), channelCount: channels, laneCount: lanes,
        codec: try CodecPolicy(parsing: codec), bandwidthLimit: bandwidth, software: "test"))
  }

  /// An image file of `bytes`.
  func image(_ bytes: [UInt8], map: MemoryMap? = nil) throws -> ImageSource {
    try ImageSource(path: try folder.write(bytes, to: "source.raw"), map: map)
  }

  /// Nothing of a migration that did not complete is left where it could be taken for whole.
  func expectNothingLeft() {
    #expect(!TemporaryDirectory.exists(output))
    #expect(!TemporaryDirectory.exists(partial))
  }
}
