// SPDX-License-Identifier: Apache-2.0
public import GuestMemory
public import HostSystem
public import PageCodecs
public import PageKernels
import PageModel
import Synchronization
import SystemPackage
public import Transport

/// The source's data plane: lanes that turn pending pages into frames, and senders that put them on channels.
///
/// ```
/// pending map → lane (snapshot · classify · encode) → ring → sender → channel
/// ```
public final class SendingPipeline: Sendable {
  /// How the pipeline is built.
  public struct Configuration: Sendable {
    public var laneCount: Int
    public var codec: CodecPolicy
    /// What a lane's codec may look back over, in bytes.
    public var historyByteCount: Int
    /// Compute each block's digest from the pages as they are read: for sources that do not change.
    public var wantsDigests: Bool
    /// Raw pages travel without a checksum of their own, straight from guest memory where that is mapped: for sources
    /// that do not change, to destinations that were told so.
    public var sendsUnsummed: Bool
    /// Of a guest that runs: what tells which pages it writes, and what may be remembered of them.
    public var live: Live?
    public var pacer: Pacer
    /// CPUs that the pipeline may use: with fewer than it would have threads, and one lane per channel, lanes send
    /// their frames themselves.
    public var cpuCount: Int
    /// Where its threads run and their memory lies.
    public var placement: Placement
    /// Raw pages that travel straight from guest memory may do so without the kernel's copy, too.
    public var zeroCopy: ZeroCopyOptions

    public init(
      laneCount: Int, codec: CodecPolicy, historyByteCount: Int = 0, wantsDigests: Bool,
      sendsUnsummed: Bool = false, live: Live? = nil, pacer: Pacer,
      cpuCount: Int = HostThread.allowedCPUs().count, placement: Placement = .none,
      zeroCopy: ZeroCopyOptions = .init(.off)
    ) {
      self.laneCount = laneCount
      self.codec = codec
      self.historyByteCount = historyByteCount
      self.wantsDigests = wantsDigests
      self.sendsUnsummed = sendsUnsummed
      self.live = live
      self.pacer = pacer
      self.cpuCount = cpuCount
      self.placement = placement
      self.zeroCopy = zeroCopy
    }
  }

  /// What lanes need besides the memory of a guest that runs.
  public struct Live: Sendable {
    public var memory: LiveMemory
    public var log: any DirtyLog
    public var heat: SpanHeat
    /// Stripes by which the guest's rate is judged.
    public var sample: DirtySample?
    public var cacheBudget: CacheBudget
    /// Of the session, for hashes of pages.
    public var seed: UInt64
    /// For how long what writes to this memory was kept waiting until more is at the destination, so far. Lanes that have
    /// nothing to do meanwhile wait for the link, and choose their codec accordingly.
    public var heldBackNanoseconds: (@Sendable () -> UInt64)?

    public init(
      memory: LiveMemory, log: any DirtyLog, heat: SpanHeat, sample: DirtySample? = nil,
      cacheBudget: CacheBudget, seed: UInt64, heldBackNanoseconds: (@Sendable () -> UInt64)? = nil
    ) {
      self.heldBackNanoseconds = heldBackNanoseconds
      self.memory = memory
      self.log = log
      self.heat = heat
      self.sample = sample
      self.cacheBudget = cacheBudget
      self.seed = seed
    }
  }

  /// What happens to a pipeline, told on one of its threads.
  public enum Event: Sendable {
    /// Every lane has put its last frame of this iteration into its ring.
    case iterationProduced(UInt32)
    /// The pipeline has stopped by itself. Told once.
    case failed(LaneError)
  }

  private let memory: any SourceMemory
  private let assignment: LaneAssignment
  private let pending: [SpanMap]
  private let gate: LaneGate
  private let codecs: CodecSelection
  private let rings: [FrameRing]
  private let channels: ChannelRoster
  private let counters: [LaneCounters]
  private let configuration: Configuration
  private let sending: FrameSending
  private let onEvent: @Sendable (Event) -> Void

  private let iterationSpot = ParkingSpot()
  /// The number of the iteration that lanes are to work on, and what it is.
  private let iteration = Atomic<UInt32>(0)
  private let order = Mutex(Iteration(number: 0, kind: .bulk))
  private let lanesAtWork = Atomic<Int>(0)
  private let stopped = Atomic<Bool>(false)
  private let failed = Atomic<Bool>(false)
  private let threads = Mutex<[HostThread]>([])
  private let digestSums: Mutex<[BlockDigest]>

  /// Bytes of the ring slots: fixed for the life of the pipeline.
  public let ringByteCount: Int

  /// Allocates rings; starts nothing yet.
  /// - Parameters:
  ///   - pending: one map per block; lanes take pages out of it.
  ///   - connections: the data channels, attached.
  public init(
    memory: any SourceMemory, pending: [SpanMap], connections: [Connection], configuration: Configuration,
    onEvent: @escaping @Sendable (Event) -> Void
  ) throws(LaneError) {
    let laneCount = max(configuration.laneCount, connections.count)
    let assignment = LaneAssignment(
      blocks: memory.blocks, laneCount: laneCount, channelCount: connections.count,
      homes: configuration.placement.homes)
    let sending = FrameSending(
      laneCount: laneCount, channelCount: connections.count, cpuCount: configuration.cpuCount,
      encodes: configuration.codec != .none, runs: configuration.live != nil)
    let slotCount = sending.slotCount(laneCount: laneCount)
    var rings: [FrameRing] = []
    for lane in 0..<laneCount {
      do throws(Errno) {
        rings.append(
          try FrameRing(
            slotCount: slotCount, frameSpot: ParkingSpot(),
            node: configuration.placement.lane(lane).memoryNode))
      } catch { throw .noBuffers(error) }
    }
    // Frames refer to the memory of a guest only if it does not run: then nobody writes what is still under way.
    let zeroCopy = configuration.live == nil ? configuration.zeroCopy : .init(.off)
    channels = ChannelRoster(
      connections.enumerated().map { index, connection in
        ChannelSender(
          number: index + 1, connection: connection, rings: rings, pacer: configuration.pacer, zeroCopy: zeroCopy)
      }, rings: rings)
    self.sending = sending
    self.memory = memory
    self.pending = pending
    self.configuration = configuration
    self.assignment = assignment
    self.rings = rings
    self.onEvent = onEvent
    gate = LaneGate(laneCount: laneCount)
    counters = (0..<laneCount).map { _ in LaneCounters() }
    codecs = CodecSelection(configuration.codec, laneCount: laneCount)
    ringByteCount = laneCount * slotCount * FrameRing.slotByteCount
    digestSums = Mutex(Array(repeating: BlockDigest(), count: memory.blocks.blocks.count))
  }

  /// Starts a thread per lane, and one per channel unless lanes send themselves.
  public func start() {
    threads.withLock { threads in
      for lane in rings.indices {
        threads.append(
          HostThread(name: "pf-lane-\(lane)", placement: configuration.placement.lane(lane)) { [self] in
            attempt { () throws(LaneError) in try runLane(lane) }
          })
      }
      for sender in channels.senders where sending.hasSenders { threads.append(thread(of: sender)) }
    }
  }

  private func thread(of sender: ChannelSender) -> HostThread {
    let placement = configuration.placement.sender(sender.number - 1)
    return HostThread(name: "pf-send-\(sender.number)", placement: placement) { [self] in
      attempt { () throws(LaneError) in try sender.run(isStopped: { self.isStopped }) }
    }
  }

  /// Changes how many lanes work at a time; any thread. The others wait between two stripes.
  public func set(workerCount: Int) { gate.set(workerCount) }

  /// Changes the codec of a guest that runs; any thread. Lanes follow with their next frame.
  /// - Returns: false if it cannot be changed.
  public func set(codec: CodecPolicy) -> Bool { configuration.live != nil && codecs.set(codec) }

  /// How many lanes there are, and so the most channels that can be of use.
  public var laneCount: Int { rings.count }

  /// Data channels that are open, and those of them that lanes feed or are about to.
  public var channelCount: Int { channels.count }
  public var channelCountInUse: Int { channels.countInUse }

  /// Changes how many channels lanes feed, to as many as are open at most; any thread, of a guest that runs. Lanes follow
  /// between two frames. The others stay connected.
  public func use(channelCount: Int) { if configuration.live != nil { channels.use(channelCount) } }

  /// Adds a data channel that the destination takes frames from, the one after those that are open; any thread. It is not
  /// in use yet.
  /// - Returns: false if the pipeline has stopped: then it is the caller's to close.
  public func add(_ connection: Connection) -> Bool {
    threads.withLock { threads in
      guard configuration.live != nil, !stopped.load(ordering: .relaxed) else { return false }
      let sender = channels.add { number in
        ChannelSender(number: number, connection: connection, rings: rings, pacer: configuration.pacer)
      }
      if sending.hasSenders { threads.append(thread(of: sender)) }
      return true
    }
  }

  /// Begins an iteration over the pending map. The one before must have been produced.
  public func begin(_ next: Iteration) {
    order.withLock { $0 = next }
    lanesAtWork.store(rings.count, ordering: .relaxed)
    // Releasing: pairs with the acquire in runLane, so that lanes see the pending map and the count above.
    iteration.store(next.number, ordering: .releasing)
    iterationSpot.wake()
  }

  /// Stops all threads and waits for them. Connections are shut down unless `keepConnections`. May be called again.
  public func stop(keepConnections: Bool = false) {
    stopped.store(true, ordering: .relaxed)
    // From here on none is added.
    let running = threads.withLock { threads in
      defer { threads = [] }
      return threads
    }
    wakeAll()
    let senders = channels.senders
    if !keepConnections { for sender in senders { sender.connection.shutDown() } }
    for thread in running { thread.join() }
    // Who stops a second time has nothing to wait for.
    if !running.isEmpty { for sender in senders { sender.finish() } }
  }

  private var isStopped: Bool { stopped.load(ordering: .relaxed) || failed.load(ordering: .relaxed) }

  private func wakeAll() {
    iterationSpot.wake()
    gate.wake()
    channels.wakeAll()
    for ring in rings { ring.wakeProducer() }
  }

  private func attempt(_ body: () throws(LaneError) -> Void) {
    do throws(LaneError) { try body() } catch {
      let first = !failed.exchange(true, ordering: .relaxed)
      wakeAll()
      if first, !stopped.load(ordering: .relaxed) { onEvent(.failed(error)) }
    }
  }

  /// The body of a lane's thread.
  private func runLane(_ number: Int) throws(LaneError) {
    let still = StillReader(
      memory: memory, counters: counters[number], wantsDigests: configuration.wantsDigests)
    let lane = try makeLane(number, still: still)
    var last: UInt32 = 0
    while true {
      _ = iterationSpot.wait { self.iteration.load(ordering: .acquiring) != last || self.isStopped }
      if isStopped { return }
      last = iteration.load(ordering: .acquiring)
      guard try lane.run(order.withLock { $0 }) else { return }
      if configuration.wantsDigests {
        digestSums.withLock { sums in
          for (index, digest) in still.takeDigests().enumerated() { sums[index].add(digest) }
        }
      }
      if lanesAtWork.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 { onEvent(.iterationProduced(last)) }
    }
  }

  private func makeLane(_ number: Int, still: StillReader) throws(LaneError) -> Lane {
    let route = LaneRoute(lane: number, ring: rings[number], channels: channels)
    // Only a channel's one lane may have it to itself.
    let mayWait = FrameSending.lanesSuffice(
      laneCount: rings.count, channelCount: channels.count, cpuCount: configuration.cpuCount)
    let sendReady: ((_ isPlain: Bool) throws(LaneError) -> Void)? =
      switch sending {
      case .lanes:
        { (_) throws(LaneError) in
          try route.sender.sendInTurn(self.rings[number], isStopped: { self.isStopped })
        }
      case .both:
        { (isPlain) throws(LaneError) in
          try route.sender.sendAtOnce(waits: isPlain && mayWait, isStopped: { self.isStopped })
        }
      case .senders: nil
      }
    let assembler = try FrameAssembler(
      lane: number, blocks: memory.blocks, codecs: codecs,
      mayEncode: configuration.live != nil || configuration.codec != .none,
      makeEncoder: { policy, tally in
        LaneEncoder(
          policy: policy, historyByteCount: self.configuration.historyByteCount, route: route, counters: tally,
          lane: self.counters[number],
          others: {
            LaneEncoder.Others(
              sentByteCount: self.sentByteCount, laneCount: self.lanesAtWork.load(ordering: .relaxed),
              counters: self.counters,
              heldBackNanoseconds: self.configuration.live?.heldBackNanoseconds?() ?? 0)
          })
      },
      route: route, ring: rings[number], counters: counters[number], sendsUnsummed: configuration.sendsUnsummed,
      isStopped: { self.isStopped },
      sendReady: sendReady)
    var live: Lane.Live?
    if let guest = configuration.live {
      let reader = try LiveReader(
        lane: number, memory: guest.memory, assignment: assignment, counters: counters[number],
        budget: guest.cacheBudget, seed: guest.seed, node: configuration.placement.lane(number).memoryNode)
      live = Lane.Live(log: guest.log, heat: guest.heat, sample: guest.sample, reader: reader)
    }
    return Lane(
      number: number, memory: memory, pending: pending, assignment: assignment, assembler: assembler,
      reader: live?.reader ?? still, counters: counters[number], gate: gate, isStopped: { self.isStopped }, live: live)
  }

  /// The sum over all lanes, now.
  public var statistics: SendingStatistics { SendingStatistics(codecs, counters) }

  /// Where its threads run.
  public var placement: Placement {
    sending.hasSenders ? configuration.placement : configuration.placement.withoutSenders
  }

  /// Nanoseconds that the busiest channel has had data on the way, or was held back by the bandwidth limit; nil if the
  /// kernel does not say.
  public var linkBusyNanoseconds: UInt64? { channels.linkBusyNanoseconds }

  /// Bytes that the data channels' sockets have taken.
  public var sentByteCount: UInt64 { channels.sentByteCount }

  /// What came of sending without a copy, on all channels; exact once the pipeline was stopped.
  public var zeroCopyUse: ZeroCopyUse {
    channels.senders.reduce(into: ZeroCopyUse()) { sum, sender in
      if let use = sender.zeroCopyUse { sum.add(use) }
    }
  }

  /// Each block's digest, once the iteration has been produced.
  public var digests: [BlockDigest] { digestSums.withLock { $0 } }
}
