// SPDX-License-Identifier: Apache-2.0
import HostSystem
import PageFerry
import Wire

/// What a source with one channel sends of an image, kept in memory.
final class RecordedStream: Sendable {
  /// Of the data pages.
  let dataByteCount: UInt64
  private let bytes: [UInt8]
  private let blocks: BlockTable
  private let codec: CodecPolicy

  private static let historyByteCount = 64 << 20
  private static let partByteCount = 1 << 20

  struct Sample {
    /// Until every frame was applied.
    var seconds: Double
    /// Of all threads, those included that feed the socket.
    var cpuSeconds: Double
    var frames: UInt64
    var handedFrames: UInt64
  }

  /// Sends the image once, and keeps what comes.
  init(_ source: ImageSource, _ codec: CodecPolicy) throws {
    let (near, far) = try Self.connect()
    let pending = try source.blocks.blocks.indices.map { try source.presentPages(block: $0) }
    let pipeline = try SendingPipeline(
      memory: source, pending: pending, connections: [near],
      configuration: .init(
        laneCount: 1, codec: codec, historyByteCount: Self.historyByteCount, wantsDigests: false,
        pacer: Pacer(bytesPerSecond: 0), cpuCount: 1),
      onEvent: { if case .failed(let error) = $0 { fatalError("\(error)") } })
    pipeline.start()
    pipeline.begin(Iteration(number: 1, kind: .bulk))
    var bytes: [UInt8] = []
    while !Self.isComplete(bytes) {
      // What can be received without waiting for more than there is.
      bytes += try far.receive(count: max(1, min(Self.partByteCount, far.waitingByteCount)))
    }
    pipeline.stop()
    self.bytes = bytes
    dataByteCount = pipeline.statistics.dataPages * 4096
    blocks = source.blocks
    self.codec = codec
  }

  /// Whether it ends with the lane's end-of-iteration frame.
  private static func isComplete(_ bytes: [UInt8]) -> Bool {
    guard bytes.count >= FrameHeader.byteCount else { return false }
    let last = Array(bytes[(bytes.count - FrameHeader.byteCount)...])
    let header = unsafe try? FrameHeader(decoding: last.span.bytes)
    return header?.type == .endOfIteration
  }

  private static func connect() throws -> (Connection, Connection) {
    let listener = try Listener(endpoint: .tcp(host: "127.0.0.1", port: 0), options: .init(congestionControl: "cubic"))
    let near = try Dialer(endpoint: listener.endpoint, options: .init(congestionControl: "cubic")).connect(
      within: .seconds(5))
    guard let far = try listener.accept(within: .seconds(5)) else { fatalError("nobody came") }
    return (near, far)
  }

  /// Sends it to a new receiver.
  func replay(decoders: Int) throws -> Sample {
    let (near, far) = try Self.connect()
    let memory = try AnonymousMemory(blocks: blocks, populateAhead: false)
    let ended = Mailbox<Bool>()
    let pipeline = ReceivingPipeline(
      memory: memory, connections: [far],
      session: .init(codecs: codec.tags, laneCount: 1, channelCount: 1, historyByteCount: Self.historyByteCount),
      decoderCount: decoders,
      onEvent: { event in
        if case .failed(let error) = event { fatalError("\(error)") }
        ended.post(true)
      })
    let started = (wall: HostClock.now(), cpu: ProcessUsage.cpuNanoseconds)
    pipeline.start()
    let feeder = HostThread(name: "feed") { [bytes] in try? near.send(bytes) }
    _ = ended.next(nanoseconds: -1)
    let taken = (wall: HostClock.now() - started.wall, cpu: ProcessUsage.cpuNanoseconds - started.cpu)
    feeder.join()
    pipeline.stop()
    let statistics = pipeline.statistics
    return Sample(
      seconds: Double(taken.wall) / 1e9, cpuSeconds: Double(taken.cpu) / 1e9, frames: statistics.frames,
      handedFrames: statistics.handedFrames)
  }
}
