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

    /// The channel, from 1, that `lane` feeds at first.
    func firstChannel(ofLane lane: Int) -> Int { lane % channelCount + 1 }
  }

  /// Most decoders of one channel.
  public static let decoderCountMax = DecodeQueue.decoderCountMax
  /// Most decoders of one channel that are worth while: what is left for the channel's own thread keeps it as busy.
  private static let decoderCountWorthwhile = 3

  /// Decoders per channel where `workerCount` threads can work at the same time: what channels leave free, in equal shares.
  public static func decoderCount(workerCount: Int, channelCount: Int) -> Int {
    min(decoderCountWorthwhile, max(0, workerCount - channelCount) / max(1, channelCount))
  }

  /// A data channel and what came on it.
  private final class Channel: Sendable {
    let connection: Connection
    let counters = ChannelCounters()
    /// It ended before it was used.
    let isGone = Atomic<Bool>(false)

    init(_ connection: Connection) { self.connection = connection }
  }

  private let memory: any DestinationMemory
  /// Channel 1 first. Some may be added.
  private let channels: Mutex<[Channel]>
  private let session: Session
  private let owners: LaneOwners
  private let moveLimit: Duration
  /// Threads per channel that decode.
  public let decoderCount: Int
  /// Where its threads run.
  public let placement: Placement
  private let onEvent: @Sendable (Event) -> Void
  private let stopped = Atomic<Bool>(false)
  private let closed = Atomic<Bool>(false)
  private let failed = Atomic<Bool>(false)
  /// The channels' threads, that of channel 1 first.
  private let threads = Mutex<[HostThread]>([])
  private let digestSums = Mutex<[BlockDigest]?>(nil)

  /// - Parameters:
  ///   - connections: the data channels, attached, channel 1 first.
  ///   - decoderCount: threads per channel that decode where its own thread falls behind, at most ``decoderCountMax``.
  ///   - placement: where threads run and their memory lies.
  ///   - moveLimit: how long a lane's frames on another channel wait for its last one on the channel that it comes from,
  ///     while nothing arrives.
  public init(
    memory: any DestinationMemory, connections: [Connection], session: Session, decoderCount: Int = 0,
    placement: Placement = .none, moveLimit: Duration = .seconds(10),
    onEvent: @escaping @Sendable (Event) -> Void
  ) {
    var session = session
    // Digests are summed up by channel, at the marks of its lanes.
    if session.features.contains(.digests) { session.features.remove(.lanesMove) }
    self.memory = memory
    self.session = session
    self.decoderCount = min(max(0, decoderCount), Self.decoderCountMax)
    self.placement = placement
    self.moveLimit = moveLimit
    self.onEvent = onEvent
    channels = Mutex(connections.map { Channel($0) })
    owners = LaneOwners(session)
  }

  /// Starts a thread per channel.
  public func start() {
    threads.withLock { threads in
      for (index, channel) in all.enumerated() { threads.append(thread(of: channel, number: index + 1)) }
    }
  }

  private var all: [Channel] { channels.withLock { $0 } }

  private func thread(of channel: Channel, number: Int) -> HostThread {
    HostThread(name: "pf-recv-\(number)", placement: placement.receiver(number - 1)) { [self] in
      receive(channel, number)
    }
  }

  /// Takes frames from one more channel, once the source has been told that it is attached; on one thread.
  ///
  /// Whoever attaches and leaves without a word ends nothing: the next one gets the number.
  /// - Returns: false if lanes do not move in this session, it has no use for a channel of this number, or it has ended.
  public func add(_ connection: Connection, number: Int) -> Bool {
    guard session.features.contains(.lanesMove), number <= min(session.laneCount, WireLimits.channelCountMax) else {
      return false
    }
    return threads.withLock { threads in
      guard !stopped.load(ordering: .relaxed), !closed.load(ordering: .relaxed) else { return false }
      let count = channelCount
      // The latest may have left before it was used: then nothing of it is kept.
      if number == count, number > session.channelCount, number == threads.count, isGone(number) {
        threads.removeLast().join()
        channels.withLock { _ = $0.removeLast() }
      }
      let added = channels.withLock { channels -> Channel? in
        guard number == channels.count + 1 else { return nil }
        channels.append(Channel(connection))
        return channels.last
      }
      guard let added else { return false }
      threads.append(thread(of: added, number: number))
      return true
    }
  }

  private func isGone(_ number: Int) -> Bool {
    channels.withLock { $0[number - 1].isGone.load(ordering: .acquiring) }
  }

  private func receive(_ channel: Channel, _ number: Int) {
    var isUnused = true
    do throws(LaneError) {
      let receiver = try ChannelReceiver(
        number: number, connection: channel.connection, memory: memory, session: session, owners: owners,
        counters: channel.counters, decoderCount: decoderCount, node: placement.receiver(number - 1).memoryNode,
        calls: calls(number))
      defer { isUnused = receiver.isUnused }
      try receiver.run(firstDecoder: (number - 1) * decoderCount + 1) { placement.decoder($0 - 1) }
    } catch {
      if case .transport = error, isUnused, number > session.channelCount, !owners.feeds(channel: number) {
        return channel.isGone.store(true, ordering: .releasing)
      }
      let first = !failed.exchange(true, ordering: .relaxed)
      owners.wake()
      if first, !stopped.load(ordering: .relaxed) { onEvent(.failed(error)) }
    }
  }

  private func calls(_ number: Int) -> ChannelReceiver.Calls {
    ChannelReceiver.Calls(
      isStopped: { self.isStopped },
      isClosed: { self.closed.load(ordering: .relaxed) },
      onMark: { [self] lane, iteration, digests in
        if let digests { add(digests) }
        onEvent(.laneDone(channel: number, lane: lane, iteration: iteration))
      },
      isOpen: { [self] target in
        channels.withLock { channels in
          channels.indices.contains(target - 1) && !channels[target - 1].isGone.load(ordering: .relaxed)
        }
      },
      awaitLane: { [self] lane in
        owners.wait(
          lane: lane, channel: number, limit: moveLimit.nanoseconds, progress: { self.receivedByteCount },
          isStopped: { self.isStopped })
      })
  }

  private var isStopped: Bool { stopped.load(ordering: .relaxed) || failed.load(ordering: .relaxed) }

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
    // From here on none is added.
    let running = threads.withLock { threads in
      defer { threads = [] }
      return threads
    }
    owners.wake()
    for channel in all { channel.connection.shutDown() }
    for thread in running { thread.join() }
  }

  /// How many data channels there are, and how many of them lanes feed now.
  public var channelCount: Int { channels.withLock { $0.count } }
  public var channelCountInUse: Int { owners.channelCountInUse }

  /// The sum over all channels, now.
  public var statistics: ReceivingStatistics {
    var sum = ReceivingStatistics()
    for channel in all { sum.add(channel.counters) }
    return sum
  }

  /// Frames applied per channel, channel 1 first.
  public var appliedFrameCounts: [UInt64] { all.map { $0.counters.appliedFrames.load(ordering: .relaxed) } }

  /// Receive buffers of all channels, in bytes: they grow with channels that are added, and with nothing else.
  public var bufferByteCount: Int { channelCount * ChannelReceiver.bufferByteCount(decoders: decoderCount) }

  /// Bytes that the data channels' sockets have given.
  public var receivedByteCount: UInt64 { all.reduce(0) { $0 + $1.connection.receivedByteCount } }
}
