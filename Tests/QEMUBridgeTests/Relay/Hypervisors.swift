// SPDX-License-Identifier: Apache-2.0
import HostSystem
import Lanes
import Logging
import Migration
import PageCodecs
import Synchronization
import SystemPackage
import TestSupport
import Testing
import Transport

@testable import QEMUBridge

/// A source hypervisor's part: memory that is sent in sections, with versions that follow each other, and then a state.
struct ScriptedSource {
  /// Pages of each block.
  static let pageCounts = [700, 17, 1]
  static let stateByteCount = 100_000
  static let names = ["pc.ram", "/rom@etc/acpi/tables", "pc.bios"]

  var random: SeededGenerator
  /// What the destination must have in the end.
  private(set) var memory: [[UInt8]] = pageCounts.map { [UInt8](repeating: 0, count: $0 * 4096) }
  let state: [UInt8]
  var hasReturnPath = false
  /// Pages that are sent again, in sections of some hundred.
  var rounds = 20

  init(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    state = [4] + generator.bytes(Self.stateByteCount - 1)
    random = generator
  }

  static var blocks: [StreamBlock] {
    zip(names, pageCounts).map { StreamBlock(nameBytes: Array($0.utf8), byteCount: UInt64($1 * 4096)) }
  }

  /// What comes before the first page.
  var opening: [UInt8] {
    var bytes: [UInt8] = [0x51, 0x45, 0x56, 0x4d, 0, 0, 0, 3, 7, 0, 0, 0, 2, 0x70, 0x63]
    if hasReturnPath { bytes += [8, 0, 1, 0, 0, 8, 0, 2, 0, 4, 0, 0, 0, 1] }
    bytes += [1, 0, 0, 0, 2, 3] + Array("ram".utf8) + [0, 0, 0, 0, 0, 0, 0, 4]
    bytes.append(bigEndian: Self.blocks.reduce(UInt64(4)) { $0 + $1.byteCount })
    for block in Self.blocks {
      bytes.append(UInt8(block.nameBytes.count))
      bytes += block.nameBytes
      bytes.append(bigEndian: block.byteCount)
    }
    bytes += [0, 0, 0, 0, 0, 0, 0, 0x10, 0x7e, 0, 0, 0, 2]
    return bytes
  }

  /// Everything, and what was written meanwhile: each call of `send` is a section.
  mutating func run(_ send: ([UInt8]) throws -> Void) rethrows {
    try send(opening)
    let all = Self.pageCounts.enumerated().flatMap { block, count in (0..<count).map { (block, $0) } }
    for first in stride(from: 0, to: all.count, by: 97) {
      try send(section(2, Array(all[first..<min(all.count, first + 97)])))
    }
    for _ in 0..<rounds {
      // Most of them in few places.
      let pages = (0..<Int.random(in: 1...120, using: &random)).map { _ in
        let block = Int.random(in: 0..<3, using: &random)
        return (block, Int.random(in: 0..<min(Self.pageCounts[block], 80), using: &random))
      }
      try send(section(2, pages))
    }
    try send(section(3, [(0, 5), (0, 6), (1, 0)]))
    try send(state)
  }

  private mutating func section(_ kind: UInt8, _ pages: [(Int, Int)]) -> [UInt8] {
    var bytes: [UInt8] = [kind, 0, 0, 0, 2]
    var last = -1
    for (block, page) in pages {
      let isZero = Int.random(in: 0..<4, using: &random) == 0
      bytes.append(bigEndian: UInt64(page * 4096) | (isZero ? 2 : 8) | (block == last ? 0x20 : 0))
      if block != last {
        bytes.append(UInt8(Self.names[block].utf8.count))
        bytes += Self.names[block].utf8
      }
      last = block
      let content = isZero ? [UInt8](repeating: 0, count: 4096) : content(block, page)
      bytes += isZero ? [0] : content
      memory[block].replaceSubrange(page * 4096..<(page + 1) * 4096, with: content)
    }
    return bytes + [0, 0, 0, 0, 0, 0, 0, 0x10, 0x7e, 0, 0, 0, 2]
  }

  /// A page: quite another, or a little changed.
  private mutating func content(_ block: Int, _ page: Int) -> [UInt8] {
    guard Bool.random(using: &random) else { return random.bytes(4096) }
    var bytes = Array(memory[block][page * 4096..<(page + 1) * 4096])
    for _ in 0..<40 {
      bytes[Int.random(in: 0..<4096, using: &random)] = UInt8.random(in: 1...255, using: &random)
    }
    return bytes
  }
}

/// What a destination hypervisor has taken.
struct TakenStream {
  var memory: [[UInt8]] = []
  var state: [UInt8] = []
  var error: StreamError?
  /// Ends of sections, and barriers that are records.
  var sections = 0
  var flushes = 0

  /// Reads until the end.
  init(_ connection: Connection, answer: ([UInt8]) -> Void = { _ in }) {
    do throws(StreamError) {
      var reader = try StreamReader(ConnectionSource(connection: connection))
      var image: RAMImage?
      while let element = try reader.next() {
        switch element.kind {
        case .command(.ping(let number)): answer([0, 2, 0, 4] + (0..<4).map { UInt8(number >> (24 - 8 * $0) & 255) })
        case .blockList:
          image = try? RAMImage(blocks: reader.blocks, pageByteCount: 4096, limit: 1 << 30)
        case .page(let record):
          reader.withPayload(of: record) { payload in
            try? image?.apply(record, payload: payload, position: element.offset)
          }
        case .endOfRecords: sections += 1
        case .multifdFlush: flushes += 1
        case .opaque:
          reader.withElement { state += $0.copied }
          // As a hypervisor that has loaded everything says so, long before the source closes.
          if state.count == ScriptedSource.stateByteCount { answer([0, 1, 0, 4, 0, 0, 0, 0]) }
        default: break
        }
      }
      memory = (image?.blocks ?? []).enumerated().map { block, declared in
        var bytes = [UInt8](repeating: 0, count: Int(declared.byteCount))
        image?.forEachWrittenPage(ofBlock: block) { offset, page in
          bytes.replaceSubrange(Int(offset)..<Int(offset) + 4096, with: page.copied)
        }
        return bytes
      }
    } catch { self.error = error }
  }
}

private struct ConnectionSource: ByteSource {
  let connection: Connection
  mutating func read(into room: UnsafeMutableRawBufferPointer) throws(Errno) -> Int {
    do throws(TransportError) { return unsafe try connection.receiveSome(into: room) } catch { throw .connectionReset }
  }
}

/// A pair of proxies in this process, and the sockets for hypervisors on both sides.
final class ProxyPair: Sendable {
  let directory = TemporaryDirectory()
  let departure: RelayDeparture
  let destination: RelayDestination
  /// What is between the halves, if it can fail.
  let wire: BrittleWire?
  /// The destination hypervisor's, unless there is a real one.
  private let incoming: Listener?
  private let results = Mutex<(source: [RelayReport], destination: [RelayReport])>(([], []))

  init(
    codec: String = "none", deltaCache: CacheBudget.Size = .automatic, channels: Int = 2, bandwidth: UInt64 = 0,
    keepsAll: Bool = false, direct: (TemporaryDirectory) -> DirectMemory = { _ in .off }, hasHypervisor: Bool = true,
    isBrittle: Bool = false, silenceSeconds: Int = 15
  ) throws {
    let (inPath, outPath) = (directory.file("in"), directory.file("out"))
    incoming = hasHypervisor ? try Listener(endpoint: .unix(path: inPath), options: .init()) : nil
    let logger = Logger.silent
    let between = try Listener(endpoint: .tcp(host: "127.0.0.1", port: 0), options: .init())
    destination = RelayDestination(
      listener: between,
      configuration: .init(
        hypervisor: .unix(path: inPath), connectTimeout: .seconds(5), direct: direct(directory),
        silenceLimit: .seconds(silenceSeconds), software: "test"),
      logger: logger)
    wire = isBrittle ? try BrittleWire(to: between.endpoint) : nil
    departure = RelayDeparture(
      listener: try Listener(endpoint: .unix(path: outPath), options: .init()),
      configuration: .init(
        endpoint: wire?.endpoint ?? between.endpoint, socketOptions: .init(deadPeerSeconds: silenceSeconds),
        channelCount: channels, laneCount: channels, codec: try CodecPolicy(parsing: codec),
        deltaCache: deltaCache, bandwidthLimit: bandwidth, keepsAll: keepsAll, software: "test"),
      logger: logger)
  }

  /// A connection as a source hypervisor makes it.
  func leave() throws -> Connection {
    try Dialer(endpoint: .unix(path: directory.file("out")), options: .init()).connect(within: .seconds(5))
  }

  /// The connection that the destination's proxy makes.
  func arrive() throws -> Connection { try #require(try incoming?.accept(within: .seconds(10))) }

  /// Runs both halves until both have ended.
  func run(_ body: () throws -> Void) throws -> (source: [RelayReport], destination: [RelayReport]) {
    let source = HostThread(name: "test-source") { [self] in
      let reports = departure.run()
      results.withLock { $0.source = reports }
    }
    let arrival = HostThread(name: "test-dest") { [self] in
      let reports = destination.run()
      results.withLock { $0.destination = reports }
    }
    var failure: (any Error)?
    do { try body() } catch {
      failure = error
      departure.cancel("the test failed")
      destination.cancel("the test failed")
    }
    source.join()
    // A source that never came to it leaves it waiting.
    if destination.reports.isEmpty { destination.cancel("over") }
    arrival.join()
    wire?.end()
    if let failure { throw failure }
    return results.withLock { $0 }
  }
}

extension Logger {
  /// Says nothing.
  static var silent: Logger { Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }) }
}
