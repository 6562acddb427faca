// SPDX-License-Identifier: Apache-2.0
import GuestMemory
import HostSystem
import Lanes
import PageCodecs
import PageKernels
import PageModel
import TestSupport
import Testing
import Transport
import Wire

/// Guest memory in an array, for lanes to read.
final class ArraySource: SourceMemory {
  let blocks: BlockTable
  private let contents: [[UInt8]]

  init(_ contents: [[UInt8]]) throws {
    self.contents = contents
    var base: UInt64 = 0
    blocks = try BlockTable(
      contents.enumerated().map { index, bytes in
        defer { base += UInt64(bytes.count) + 4096 }
        return RAMBlock(name: "block\(index)", guestPhysicalBase: base, byteCount: UInt64(bytes.count))
      })
  }

  func snapshot(
    block: Int, span: Int, wanted: PageMask, into staging: inout MutableRawSpan
  ) throws(GuestMemoryError) -> Snapshot.Result {
    let start = span * PageGeometry.spanByteCount
    let end = min(start + PageGeometry.spanByteCount, contents[block].count)
    return contents[block].withRawSpan { whole in
      Snapshot.take(span: whole.extracting(start..<end), wanted: wanted, into: &staging)
    }
  }

  func presentPages(block: Int) throws(GuestMemoryError) -> SpanMap {
    let map = SpanMap(block: blocks.blocks[block])
    map.insert(pages: 0..<blocks.blocks[block].pageCount)
    return map
  }

  func checkUnchanged() throws(GuestMemoryError) {}

  var digests: [BlockDigest] {
    let zero = [UInt8](repeating: 0, count: 4096)
    return contents.map { bytes in
      var digest = BlockDigest()
      for page in 0..<bytes.count / 4096 {
        let content = bytes[page * 4096..<(page + 1) * 4096]
        if content.isSame(as: zero[...]) { continue }
        Array(content).withRawSpan { digest.add(page: $0, number: UInt64(page)) }
      }
      return digest
    }
  }
}

/// A sending and a receiving pipeline over real sockets.
struct PipelineHarness {
  enum Event: Sendable {
    case sending(SendingPipeline.Event)
    case receiving(ReceivingPipeline.Event)
  }

  let events = Mailbox<Event>()
  let near: [Connection]
  let far: [Connection]
  private let listener: Listener

  init(channelCount: Int) throws {
    let listener = try Listener(endpoint: .tcp(host: "127.0.0.1", port: 0), options: .init())
    let pairs = try (0..<channelCount).map { _ in try Self.connect(to: listener) }
    near = pairs.map { $0.near }
    far = pairs.map { $0.far }
    self.listener = listener
  }

  private static func connect(to listener: Listener) throws -> (near: Connection, far: Connection) {
    let near = try Dialer(endpoint: listener.endpoint, options: .init()).connect(within: .seconds(5))
    return (near, try #require(try listener.accept(within: .seconds(5))))
  }

  /// One more connection.
  func connect() throws -> (near: Connection, far: Connection) { try Self.connect(to: listener) }

  func sender(
    _ source: any SourceMemory, codec: CodecPolicy, laneCount: Int, bandwidth: UInt64 = 0, cpuCount: Int = 2,
    sendsUnsummed: Bool = false, zeroCopy: ZeroCopyOptions = .init(.off)
  ) throws -> SendingPipeline {
    let pending = try source.blocks.blocks.indices.map { try source.presentPages(block: $0) }
    return try SendingPipeline(
      memory: source, pending: pending, connections: near,
      configuration: .init(
        laneCount: laneCount, codec: codec, historyByteCount: 1 << 20, wantsDigests: true,
        sendsUnsummed: sendsUnsummed, pacer: Pacer(bytesPerSecond: bandwidth),
        cpuCount: cpuCount, zeroCopy: zeroCopy),
      onEvent: { [events] in events.post(.sending($0)) })
  }

  func receiver(
    _ memory: any DestinationMemory, codecs: [CodecTag], laneCount: Int = 8, features: SessionFeatures = [],
    decoders: Int = 0
  ) -> ReceivingPipeline {
    ReceivingPipeline(
      memory: memory, connections: far,
      session: .init(
        codecs: codecs, laneCount: laneCount, channelCount: far.count, historyByteCount: 1 << 20,
        features: features), decoderCount: decoders,
      onEvent: { [events] in events.post(.receiving($0)) })
  }

  /// Handles events until the iteration has been produced and every lane's mark has arrived, or a failure.
  func awaitMarks(_ laneCount: Int) throws {
    var marks = 0
    var isProduced = false
    while marks < laneCount || !isProduced {
      switch try #require(events.next(nanoseconds: 20_000_000_000), "the pipelines have stalled") {
      case .receiving(.laneDone): marks += 1
      case .receiving(.failed(let error)), .sending(.failed(let error)): throw error
      case .sending(.iterationProduced): isProduced = true
      }
    }
  }

  /// The first failure that is told.
  func awaitFailure() throws -> LaneError {
    while true {
      switch try #require(events.next(nanoseconds: 20_000_000_000), "no failure was told") {
      case .receiving(.failed(let error)), .sending(.failed(let error)): return error
      default: break
      }
    }
  }
}
