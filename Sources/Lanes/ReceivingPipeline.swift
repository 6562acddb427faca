// SPDX-License-Identifier: Apache-2.0
public import GuestMemory
import HostSystem
public import PageCodecs
public import PageKernels
import Synchronization
public import Transport
public import Wire

/// What a receiving pipeline has applied so far.
public struct ReceivingStatistics: Sendable, Equatable, Codable {
  public var zeroPages: UInt64 = 0
  public var dataPages: UInt64 = 0
  public var deltaPages: UInt64 = 0
  public var frames: UInt64 = 0
  /// Of the frames, those that decoders have decoded.
  public var handedFrames: UInt64 = 0
  public var codecNanoseconds: UInt64 = 0
  public var storeNanoseconds: UInt64 = 0

  public init() {}

  mutating func add(_ counters: ChannelCounters) {
    zeroPages += counters.zeroPages.load(ordering: .relaxed)
    dataPages += counters.dataPages.load(ordering: .relaxed)
    deltaPages += counters.deltaPages.load(ordering: .relaxed)
    frames += counters.appliedFrames.load(ordering: .relaxed)
    handedFrames += counters.handedFrames.load(ordering: .relaxed)
    codecNanoseconds += counters.codecNanoseconds.load(ordering: .relaxed)
    storeNanoseconds += counters.storeNanoseconds.load(ordering: .relaxed)
  }
}

/// The destination's data plane: a thread per data channel that receives, checks and applies frames, and decoders that
/// decode where that takes longer than receiving.
public final class ReceivingPipeline: Sendable {
  /// What happens to a pipeline, told on one of its threads.
  public enum Event: Sendable {
    /// The channel has applied everything that `lane` sent in `iteration`.
    case laneDone(channel: Int, lane: Int, iteration: UInt32)
    /// The pipeline has stopped by itself. Told once.
    case failed(LaneError)
  }

  /// What both sides have agreed on.
  public struct Session: Sendable {
    /// What frames may be encoded with.
    public var codecs: [CodecTag]
    public var laneCount: Int
    public var channelCount: Int
    /// What a lane's codec may look back over, in bytes.
    public var historyByteCount: Int
    public var features: SessionFeatures

    public init(
      codecs: [CodecTag], laneCount: Int, channelCount: Int, historyByteCount: Int = 0, features: SessionFeatures = []
    ) {
      self.codecs = codecs
      self.laneCount = laneCount
      self.channelCount = channelCount
      self.historyByteCount = historyByteCount
      self.features = features
    }

    /// Whether `lane` feeds `channel`, which is counted from 1.
    func owns(lane: Int, channel: Int) -> Bool { lane < laneCount && lane % channelCount == channel - 1 }
  }

  /// Most decoders of one channel.
  public static let decoderCountMax = DecodeQueue.decoderCountMax
  /// Most decoders of one channel that are worth while: what is left for the channel's own thread keeps it as busy.
  private static let decoderCountWorthwhile = 3

  /// Decoders per channel where `workerCount` threads can work at the same time: what channels leave free, in equal shares.
  public static func decoderCount(workerCount: Int, channelCount: Int) -> Int {
    min(decoderCountWorthwhile, max(0, workerCount - channelCount) / max(1, channelCount))
  }

  private let memory: any DestinationMemory
  private let connections: [Connection]
  private let session: Session
  /// Threads per channel that decode.
  public let decoderCount: Int
  /// Where its threads run.
  public let placement: Placement
  private let counters: [ChannelCounters]
  private let onEvent: @Sendable (Event) -> Void
  private let stopped = Atomic<Bool>(false)
  private let closed = Atomic<Bool>(false)
  private let failed = Atomic<Bool>(false)
  private let threads = Mutex<[HostThread]>([])
  private let digestSums = Mutex<[BlockDigest]?>(nil)

  /// - Parameters:
  ///   - connections: the data channels, attached, channel 1 first.
  ///   - decoderCount: threads per channel that decode where its own thread falls behind, at most ``decoderCountMax``.
  ///   - placement: where threads run and their memory lies.
  public init(
    memory: any DestinationMemory, connections: [Connection], session: Session, decoderCount: Int = 0,
    placement: Placement = .none,
    onEvent: @escaping @Sendable (Event) -> Void
  ) {
    self.memory = memory
    self.connections = connections
    self.session = session
    self.decoderCount = min(max(0, decoderCount), Self.decoderCountMax)
    self.placement = placement
    self.onEvent = onEvent
    counters = connections.map { _ in ChannelCounters() }
  }

  /// Starts a thread per channel.
  public func start() {
    threads.withLock { threads in
      threads = connections.indices.map { index in
        HostThread(name: "pf-recv-\(index + 1)", placement: placement.receiver(index)) { [self] in receive(index) }
      }
    }
  }

  private func receive(_ index: Int) {
    do throws(LaneError) {
      let receiver = try ChannelReceiver(
        number: index + 1, connection: connections[index], memory: memory, session: session, counters: counters[index],
        decoderCount: decoderCount, node: placement.receiver(index).memoryNode,
        calls: .init(
          isStopped: { [self] in stopped.load(ordering: .relaxed) || failed.load(ordering: .relaxed) },
          isClosed: { [self] in closed.load(ordering: .relaxed) },
          onMark: { [self] lane, iteration, digests in
            if let digests { add(digests) }
            onEvent(.laneDone(channel: index + 1, lane: lane, iteration: iteration))
          }))
      try receiver.run(firstDecoder: index * decoderCount + 1) { placement.decoder($0 - 1) }
    } catch {
      let first = !failed.exchange(true, ordering: .relaxed)
      if first, !stopped.load(ordering: .relaxed) { onEvent(.failed(error)) }
    }
  }

  private func add(_ digests: [BlockDigest]) {
    digestSums.withLock { sums in
      guard let known = sums else {
        sums = digests
        return
      }
      sums = zip(known, digests).map { pair in
        var sum = pair.0
        sum.add(pair.1)
        return sum
      }
    }
  }

  /// The digest of every block, computed as its pages arrived: of a session with ``SessionFeatures/digests``, into mapped
  /// memory, once the iteration is complete. Nil if memory has to be read for it.
  public var digests: [BlockDigest]? { digestSums.withLock { $0 } }

  /// All pages are here: a frame that comes after this is refused.
  public func close() { closed.store(true, ordering: .relaxed) }

  /// Shuts the channels down and waits for their threads. May be called again.
  public func stop() {
    stopped.store(true, ordering: .relaxed)
    for connection in connections { connection.shutDown() }
    let running = threads.withLock { threads in
      defer { threads = [] }
      return threads
    }
    for thread in running { thread.join() }
  }

  /// The sum over all channels, now.
  public var statistics: ReceivingStatistics {
    var sum = ReceivingStatistics()
    for channel in counters { sum.add(channel) }
    return sum
  }

  /// Frames applied per channel, channel 1 first.
  public var appliedFrameCounts: [UInt64] { counters.map { $0.appliedFrames.load(ordering: .relaxed) } }

  /// Receive buffers of all channels, in bytes: fixed for the life of the pipeline.
  public var bufferByteCount: Int {
    connections.count * ChannelReceiver.bufferByteCount(decoders: decoderCount)
  }

  /// Bytes that the data channels' sockets have given.
  public var receivedByteCount: UInt64 { connections.reduce(0) { $0 + $1.receivedByteCount } }
}
