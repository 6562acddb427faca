// SPDX-License-Identifier: Apache-2.0
import HostSystem
import PageCodecs
import PageKernels
import PageModel
import Synchronization
import Transport
import Wire

/// Encodes a lane's frames, each as the policy has it, and counts what that took.
///
/// Belongs to the lane's thread. A codec is made when it is first chosen, and kept.
final class LaneEncoder {
  /// What became of a frame's data part.
  struct Encoded {
    /// Bytes in the slot.
    var byteCount: Int
    /// The codec, if the data part is encoded.
    var tag: CodecTag?
    var flags: FrameFlags = []
  }

  /// What a lane has to know of all of them, itself included.
  struct Others {
    /// Bytes that all channels have sent.
    var sentByteCount: UInt64
    /// How many lanes are at work.
    var laneCount: Int
    var counters: [LaneCounters]
    /// See ``SendingPipeline/Live/heldBackNanoseconds``.
    var heldBackNanoseconds: UInt64 = 0

    /// Time, in ns, for which a lane's word about the link holds.
    private static let linkLifetime: UInt64 = 100_000_000

    /// Nanoseconds that the link takes for a byte, by the slowest that a lane lately saw.
    func link(at now: UInt64) -> Double? {
      var slowest: UInt64 = 0
      for lane in counters where lane.linkSeenAt.load(ordering: .relaxed) + Self.linkLifetime > now {
        slowest = max(slowest, lane.linkPicoseconds.load(ordering: .relaxed))
      }
      return slowest > 0 ? Double(slowest) / 1000 : nil
    }
  }

  private let choices: [CodecChoice]
  private let historyByteCount: Int
  private let counters: CodecTally
  /// Where it says what the link takes.
  private let lane: LaneCounters
  /// By choice; those with a history share one, which changes its level.
  private var codecs: [(any FrameCodec)?]
  private var historyCodec: (any HistoryCodec)?
  /// Level of `historyCodec`, and whether its next frame is the first of its history.
  private var historyLevel = 0
  private var historyBegins = false
  private var chooser: AdaptiveChooser?
  /// The choice for the frame that is being collected.
  private var current = 0
  /// What the chooser will be told about it: CPU time of encoding; since when, by wall and CPU.
  private var encodingNanoseconds: UInt64 = 0
  private var since: (wall: UInt64, cpu: UInt64) = (0, 0)
  private var busyBefore: Connection.BusyTime?
  private let route: LaneRoute
  private var pacedBefore: UInt64 = 0
  private let others: @Sendable () -> Others
  private var sentBefore: UInt64 = 0
  /// Of the time before the frame: the lane had nothing to do because what feeds it was held back. That is waiting, too.
  private var heldBack: UInt64 = 0
  private var heldBackBefore: UInt64 = 0

  /// - Parameter historyByteCount: what the lane's codecs may look back over.
  init(
    policy: CodecPolicy, historyByteCount: Int, route: LaneRoute, counters: CodecTally, lane: LaneCounters,
    others: @escaping @Sendable () -> Others
  ) {
    self.route = route
    self.others = others
    choices = policy.choices
    self.historyByteCount = historyByteCount
    self.counters = counters
    self.lane = lane
    codecs = Array(repeating: nil, count: choices.count)
    chooser = policy == .automatic ? AdaptiveChooser() : nil
    if let chooser { counters.choice.store(chooser.rung, ordering: .relaxed) }
  }

  /// What the kernel says of the channel that the lane feeds, and how long the bandwidth limit has held that back, in ns.
  private var busyNow: Connection.BusyTime? { route.sender.connection.busyTime }
  private var pacedNow: UInt64 { route.sender.pacedNanoseconds.load(ordering: .relaxed) }

  /// Whether frames can need a place to be collected other than the ring's slot.
  var needsStaging: Bool { choices.contains { $0.tag != .none } }

  /// Whether the frame that is being collected travels as it is.
  var isRaw: Bool { choices[current].tag == .none }

  /// Whether nothing but raw frames is to be expected: then the lane may as well send them itself.
  var isPlain: Bool { chooser?.isPlain ?? !needsStaging }

  /// The lane was idle, or feeds another channel: time that passed until now is nobody's, unless what feeds it was held back
  /// by the destination and the link.
  func resume() {
    let now = HostClock.now()
    let others = others()
    let held = others.heldBackNanoseconds - min(others.heldBackNanoseconds, heldBackBefore)
    // An encoder that was made on the way has waited for nothing yet.
    heldBack = since.wall == 0 ? 0 : min(held, now - since.wall)
    since = (now - heldBack, HostClock.threadCPU())
    heldBackBefore = others.heldBackNanoseconds
    guard heldBack == 0 else { return }
    busyBefore = busyNow
    pacedBefore = pacedNow
    sentBefore = others.sentByteCount
  }

  /// The lane feeds another channel: who receives that knows nothing of what was sent before.
  func changeChannel() {
    historyCodec?.restart()
    historyBegins = true
    resume()
  }

  /// Decides how the next frame is encoded, before its first page.
  /// - Parameter isBehind: whether frames of the lane wait for the link.
  func begin(isBehind: Bool) throws(LaneError) {
    if let chooser { current = chooser.rung(isBehind: isBehind) }
    try prepare(current)
  }

  /// Has the codec of a choice ready.
  private func prepare(_ index: Int) throws(LaneError) {
    let choice = choices[index]
    guard choice.tag != .none else { return }
    do throws(CodecError) {
      if let historyCodec, choice.hasHistory {
        if historyLevel != choice.level {
          historyCodec.restart(level: choice.level)
          historyLevel = choice.level
          historyBegins = true
        }
        codecs[index] = historyCodec
      } else if codecs[index] == nil {
        let codec = try choice.make(historyByteCount: historyByteCount)
        codecs[index] = codec
        if let codec = codec as? any HistoryCodec {
          historyCodec = codec
          historyLevel = choice.level
          historyBegins = true
        }
      }
    } catch { throw .codec(error) }
  }

  /// Encodes a frame's pages to the start of `slot`, or copies them there if that is not worth it.
  /// - Parameters:
  ///   - source: whole pages.
  ///   - slot: at least a page longer than the source.
  func encode(_ source: RawSpan, into slot: inout MutableRawSpan) throws(LaneError) -> Encoded {
    try look(at: source.extracting(0..<min(source.byteCount, Self.sampleByteCount)), scratch: &slot)
    let started = HostClock.threadCPU()
    let encoded = tryEncoding(
      source, into: &slot, looksRandom: Compressibility.looksRandom(pages: source), flag: .dataEncoded)
    let choice = counters.codecs[current]
    let pageCount = UInt64(source.byteCount / PageGeometry.pageByteCount)
    if let encoded {
      choice.frames.add(1, ordering: .relaxed)
      choice.pages.add(pageCount, ordering: .relaxed)
      choice.bytesIn.add(UInt64(source.byteCount), ordering: .relaxed)
      choice.bytesOut.add(UInt64(encoded.byteCount), ordering: .relaxed)
    } else {
      var raw = slot._mutatingExtracting(0..<source.byteCount)
      raw.copyBytes(of: source)
      choice.bypassedPages.add(pageCount, ordering: .relaxed)
    }
    encodingNanoseconds = HostClock.threadCPU() - started
    choice.cpuNanoseconds.add(encodingNanoseconds, ordering: .relaxed)
    return encoded ?? Encoded(byteCount: source.byteCount)
  }

  /// Encodes a frame's delta part to the start of `slot`, after its data part.
  /// - Returns: nil if it goes raw.
  func encodeDeltas(_ source: RawSpan, into slot: inout MutableRawSpan) -> Encoded? {
    let started = HostClock.threadCPU()
    defer {
      counters.codecs[current].cpuNanoseconds.add(HostClock.threadCPU() - started, ordering: .relaxed)
    }
    return tryEncoding(source, into: &slot, looksRandom: false, flag: .deltaEncoded)
  }

  /// Most bytes of a frame that a sample is made of: so few that it costs next to nothing.
  static let sampleByteCount = 8 * PageGeometry.pageByteCount

  /// Notes a frame that travels as it is.
  /// - Parameters:
  ///   - byteCount: of its data pages.
  ///   - sample: the first of them.
  ///   - scratch: room for as much.
  func passThrough(_ byteCount: Int, sample: RawSpan, scratch: inout MutableRawSpan) throws(LaneError) {
    let choice = counters.codecs[current]
    choice.frames.add(1, ordering: .relaxed)
    choice.pages.add(UInt64(byteCount / PageGeometry.pageByteCount), ordering: .relaxed)
    choice.bytesIn.add(UInt64(byteCount), ordering: .relaxed)
    choice.bytesOut.add(UInt64(byteCount), ordering: .relaxed)
    encodingNanoseconds = 0
    try look(at: sample, scratch: &scratch)
  }

  /// Tells the chooser what other codecs would make of a frame's pages, if it wants to know.
  private func look(at sample: RawSpan, scratch: inout MutableRawSpan) throws(LaneError) {
    guard let rungs = chooser?.sampleRungs(ofFrame: current), chooser?.wantsSample == true else { return }
    for rung in rungs {
      try prepare(rung)
      guard let codec = codecs[rung] else { continue }
      let started = HostClock.threadCPU()
      var room = scratch._mutatingExtracting(0..<sample.byteCount)
      let encoded = codec.encode(sample, into: &room) ?? sample.byteCount
      let spent = HostClock.threadCPU() - started
      counters.codecs[rung].cpuNanoseconds.add(spent, ordering: .relaxed)
      chooser?.noteSample(rung: rung, dataByteCount: sample.byteCount, wireByteCount: encoded, encoding: spent)
    }
  }

  private func tryEncoding(
    _ source: RawSpan, into slot: inout MutableRawSpan, looksRandom: @autoclosure () -> Bool, flag: FrameFlags
  ) -> Encoded? {
    guard let codec = codecs[current] else { return nil }
    let tag = choices[current].tag
    if codec === historyCodec {
      // Not looked at first: random bytes may have been sent before.
      guard let count = codec.encode(source, into: &slot) else {
        // The library gave up in the middle: the destination must not go on with what it has.
        historyCodec?.restart()
        historyBegins = true
        return nil
      }
      defer { historyBegins = false }
      return Encoded(
        byteCount: count, tag: tag, flags: historyBegins ? [flag, .historyBegins] : flag)
    }
    guard !looksRandom() else { return nil }
    // What saves less than 1/32 is not worth the destination's time.
    var limited = slot._mutatingExtracting(0..<min(slot.byteCount, source.byteCount - source.byteCount / 32))
    return codec.encode(source, into: &limited).map { Encoded(byteCount: $0, tag: tag, flags: flag) }
  }

  /// Tells the chooser about the frame that has been handed over.
  /// - Parameters:
  ///   - data, wire: bytes of its data pages, and of the whole frame.
  ///   - sending: nanoseconds on the CPU.
  ///   - waiting: nanoseconds until there was a slot, or room in the socket; nil: all the time, it would have waited.
  func finish(data: Int, wire: Int, sending: UInt64, waiting: UInt64?) {
    guard chooser != nil else { return }
    let now = (wall: HostClock.now(), cpu: HostClock.threadCPU())
    let before = chooser?.rung
    let elapsed = now.wall - since.wall
    let busy = busyNow
    var (total, limited) = (elapsed, elapsed)
    if let busy, let busyBefore {
      total = busy.total - min(busy.total, busyBefore.total)
      limited = busy.receiverLimited - min(busy.receiverLimited, busyBefore.receiverLimited)
    }
    busyBefore = busy
    // To the lane, a limit is what a slow link is: bytes that could not leave earlier.
    let paced = pacedNow
    total = min(elapsed, total + paced - min(paced, pacedBefore))
    pacedBefore = paced
    let others = others()
    let fair = (others.sentByteCount - min(others.sentByteCount, sentBefore)) / UInt64(max(1, others.laneCount))
    sentBefore = others.sentByteCount
    chooser?.note(
      AdaptiveChooser.Frame(
        rung: current, dataByteCount: data, wireByteCount: wire, fairByteCount: Int(clamping: fair), elapsed: elapsed,
        waiting: min(elapsed, (waiting ?? elapsed) + heldBack), busy: total,
        receiverLimited: limited, working: now.cpu - since.cpu, encoding: encodingNanoseconds, sending: sending,
        linkOfOthers: others.link(at: now.wall)))
    since = now
    (heldBack, heldBackBefore) = (0, others.heldBackNanoseconds)
    if let link = chooser?.linkSeen {
      lane.linkPicoseconds.store(UInt64(link * 1000), ordering: .relaxed)
      lane.linkSeenAt.store(now.wall, ordering: .relaxed)
    }
    if let rung = chooser?.rung, rung != before {
      counters.choice.store(rung, ordering: .relaxed)
      counters.choiceChanges.add(1, ordering: .relaxed)
    }
  }
}

extension MutableRawSpan {
  /// Copies `source`, which has as many bytes.
  mutating func copyBytes(of source: RawSpan) {
    precondition(byteCount == source.byteCount, "both have the same length")
    // SAFETY: same length by the precondition; self is exclusively held, so they cannot overlap.
    unsafe withUnsafeMutableBytes { to in unsafe source.withUnsafeBytes { unsafe to.copyMemory(from: $0) } }
  }
}
