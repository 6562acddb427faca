// SPDX-License-Identifier: Apache-2.0
import Glibc

/// Picks a lane's codec, frame by frame, so that guest memory moves as fast as lane and link together allow.
///
/// A lane and its link work at the same time, so a byte of guest memory takes the longer of two: the lane's work on it
/// (reading, encoding, copying to the socket), or the link's time for what it became. Each rung of ``ladder`` trades
/// one for the other. The chooser measures both for the rung in use, predicts them for the others, and moves where the
/// longer of the two is clearly shorter. So a full ring makes it spend more time per byte and an empty one less, but it
/// goes straight to the rung that fits, and stays: to swing between two rungs, each would have to be predicted better
/// than the other was measured.
///
/// Waiting is not always the link's doing: the destination may be too slow to take the data, or share its CPUs with this
/// side. Then fewer bytes do not help, and making them costs. TCP tells (the receiver's window is closed), but it says
/// the same of a tunnel that is slow behind a fast local hop, where fewer bytes do help. So where there is that doubt, a
/// step to a stronger codec is a trial: if the bytes then flow more slowly than before, it was not the link, and for a
/// while waiting is counted as work that takes long.
///
/// Between no codec and the first one, frames need not agree: while neither is clearly better, a frame is encoded if the
/// link is behind when it begins, and travels as it is if not. So both are busy all the time, which no single rung gives.
///
/// What it learns: each rung's CPU time per byte; how much longer than that work takes on a host that is busy with other
/// things; how compressible the content is now, as one factor that all rungs share; the link's time per byte, whenever
/// the lane had to wait for it. What a rung is not known to do is taken from figures
/// of a real guest, scaled by what the rungs that were used did.
///
/// A value without clocks or threads: what happened goes in, the next rung comes out.
public struct AdaptiveChooser: Sendable {
  /// One way to encode, and what it did to the data pages of a real guest.
  struct Rung: Sendable {
    let choice: CodecChoice
    /// Nanoseconds a byte on one core.
    let nanoseconds: Double
    /// Natural logarithm of the ratio.
    let reduction: Double
  }

  /// From no time per byte to the most. Levels in between are left out where they buy less than 2 %.
  static let ladder: [Rung] = [
    Rung(choice: .none, nanoseconds: 0.05, reduction: 0),
    Rung(choice: CodecChoice(tag: .lz4, level: 1), nanoseconds: 1.0, reduction: 0.72),
    Rung(choice: CodecChoice(tag: .zstd, level: 1), nanoseconds: 1.6, reduction: 0.97),
    Rung(choice: CodecChoice(tag: .zstdLong, level: 2), nanoseconds: 2.3, reduction: 1.19),
    Rung(choice: CodecChoice(tag: .zstdLong, level: 3), nanoseconds: 3.2, reduction: 1.22),
    Rung(choice: CodecChoice(tag: .zstdLong, level: 6), nanoseconds: 6.5, reduction: 1.26),
  ]
  /// No compression, and the first rung with a codec: what a lane begins with.
  private static let (none, first) = (0, 1)

  /// What an operator calls a rung.
  public static func name(ofRung rung: Int) -> String { ladder[rung].choice.description }

  /// What happened to one frame. Times are in nanoseconds.
  public struct Frame: Sendable {
    /// How it was encoded, as an index into the ladder: that of ``AdaptiveChooser/rung(isBehind:)``.
    public var rung: Int
    /// Bytes of its data pages, and of the whole frame on the wire.
    public var dataByteCount: Int
    public var wireByteCount: Int
    /// What the lane's fair share of the link was since the frame before: bytes that all lanes together sent, divided by
    /// the lanes at work. A lane that is favoured by chance must not spend what the others need: the migration is over
    /// when the last one is.
    public var fairByteCount: Int
    /// By the clock on the wall: since the frame before was finished, and of that, waiting until there was room in the
    /// ring or in the socket.
    public var elapsed: UInt64
    public var waiting: UInt64
    /// Of the time elapsed, the channel had data on its way; and of that, the receiver had no room. Where nobody can
    /// tell, all of it.
    public var busy: UInt64
    public var receiverLimited: UInt64
    /// On the CPU: everything since the frame before, and of that, encoding and sending.
    public var working: UInt64
    public var encoding: UInt64
    public var sending: UInt64

    public init(
      rung: Int, dataByteCount: Int, wireByteCount: Int, fairByteCount: Int, elapsed: UInt64, waiting: UInt64,
      busy: UInt64,
      receiverLimited: UInt64, working: UInt64, encoding: UInt64, sending: UInt64
    ) {
      self.rung = rung
      self.dataByteCount = dataByteCount
      self.wireByteCount = wireByteCount
      self.fairByteCount = fairByteCount
      self.elapsed = elapsed
      self.waiting = waiting
      self.busy = busy
      self.receiverLimited = receiverLimited
      self.working = working
      self.encoding = encoding
      self.sending = sending
    }
  }

  /// Sums over the frames of a window.
  private struct Window {
    var frameCount = 0
    var data = 0.0
    var wire = 0.0
    /// Of the frames that were encoded with the rung in use: not all of them, where it is mixed with another.
    var own = (data: 0.0, wire: 0.0, encoding: 0.0)
    var fair = 0.0
    var elapsed = 0.0
    var waiting = 0.0
    var busy = 0.0
    var receiverLimited = 0.0
    var working = 0.0
    var encoding = 0.0
    var sending = 0.0

    /// Whether it may be the destination that the lane waits for, rather than the link.
    var isDoubtful: Bool { receiverLimited > 0.3 * busy }

    mutating func add(_ frame: Frame, isOwn: Bool) {
      frameCount += 1
      if isOwn {
        own.data += Double(frame.dataByteCount)
        own.wire += Double(frame.wireByteCount)
        own.encoding += Double(frame.encoding)
      }
      data += Double(frame.dataByteCount)
      wire += Double(frame.wireByteCount)
      fair += Double(frame.fairByteCount)
      elapsed += Double(frame.elapsed)
      waiting += Double(frame.waiting)
      busy += Double(frame.busy)
      receiverLimited += Double(frame.receiverLimited)
      working += Double(frame.working)
      encoding += Double(frame.encoding)
      sending += Double(frame.sending)
    }
  }

  /// A decision is made after so many frames and so much time, in nanoseconds: a thread that loses its CPU loses it for
  /// milliseconds, and the kernel counts a channel's busy time in steps of up to 10 ms. The first rests on less.
  private static let windowFrameCount = 8
  private static let windowTime = 20e6
  private static let firstWindowFrameCount = 4
  /// So few frames suffice where the lane mostly waits.
  private static let stuckFrameCount = 3
  /// Frames after a change that say nothing: the ring and the socket still hold those from before.
  private static let settlingFrameCount = 6
  /// What is learned fades over so many bytes of data, for what depends on content: neighbouring frames differ tenfold.
  private static let contentMemory = 48e6
  /// And over so much time, in nanoseconds, for what depends on host and link.
  private static let hostMemory = 150e6
  /// Share of its time that a lane has to wait for the link to be taken as limited by it.
  private static let waitingShare = 0.08
  /// In this time, in nanoseconds, half of a memory goes that nothing refreshes: a link can become faster unseen.
  private static let forgettingTime = 2.5e9
  /// Bytes that flow so much more slowly after a trial were not held back by the link.
  private static let contradiction = 1.4
  /// How long the outcome of a failed trial holds, in nanoseconds, at first and at most.
  private static let firstHold = 1e9
  private static let longestHold = 16e9
  /// Windows in a row that have to agree on a change.
  private static let agreeingWindowCount = 2
  /// Share of its time that a change has to save: more than the noise, and less than what `auto` may lose.
  private static let worthwhile = 0.04
  /// Between two rungs with a history, more: a change throws the history away.
  private static let worthwhileRestart = 0.10
  /// From a rung with a history to a lighter codec, too: what travels meanwhile will not be remembered.
  private static let worthwhileForgetting = 0.12
  /// What each change of late adds to that, so that a lane between two rungs comes to rest; half of a change is
  /// forgotten in this time, in nanoseconds.
  private static let restlessness = 0.02
  private static let restingTime = 6e9
  /// A change to a rung that encodes in less than this share of the time need not save any, and may cost a little.
  private static let lighter = 0.5
  private static let lighterMayCost = 0.01
  /// A saving that is not to be slept on: one window suffices.
  private static let urgent = 0.3
  /// A rung that promises within so much of the best, for less work, is taken instead.
  private static let closeEnough = 1.02
  /// The first codec may take this much longer than the link takes for raw pages, to be mixed with them.
  private static let mixable = 1.5
  /// A lane that sends raw pages looks this often, in frames, at what a codec would do with some of them.
  private static let samplingInterval = 32

  /// The rung in use, as an index into the ladder.
  public private(set) var rung = AdaptiveChooser.first
  /// How often the rung has changed.
  public private(set) var changeCount = 0
  /// Whether it is time for ``noteSample(dataByteCount:wireByteCount:encoding:)``.
  public private(set) var wantsSample = false

  /// Whether the rung in use and its neighbour take turns.
  private var isMixed = false
  private var window = Window()
  private var isFirstWindow = true
  private var settling = 0
  /// The change was to a rung that encodes less.
  private var settlesDownwards = false
  /// The last change was to a stronger codec: the rung before it, and what the link was thought to take for a byte.
  private var trial: (from: Int, link: Double)?
  /// The rung that the last windows would have changed to, and how many they were.
  private var candidate = (rung: AdaptiveChooser.first, count: 0)
  /// Changes of late; old ones count less and less.
  private var recentChanges = 0.0
  private var framesSinceSample = 0
  /// Data bytes that averages of content rest on so far, and since the last sample.
  private var seenData = 0.0
  private var dataSinceSample = 0.0

  /// Nanoseconds of CPU per data byte of each rung's encoding; nil until it was used.
  private var encoding: [Double?]
  /// Nanoseconds of CPU per data byte of everything else, and per wire byte of sending (where the lane does it).
  private var reading = 0.0
  private var sending = 0.0
  /// How much longer work takes than it is on the CPU.
  private var busyness = 1.0
  /// How much slower than the ladder's figures this machine is.
  private var slowness = 1.0
  /// How much better than the ladder's figures the content compresses: multiplies `reduction`.
  private var compressibility = 1.0
  /// Nanoseconds of the link per wire byte; nil as long as the lane never waited.
  private var link: Double?
  /// How long waiting is still taken for the destination's doing, and how long that will be the next time.
  private var holdLeft = 0.0
  private var nextHold = AdaptiveChooser.firstHold

  /// The rung for the frame that begins now.
  /// - Parameter isBehind: whether frames wait for the link.
  public func rung(isBehind: Bool) -> Int { isMixed ? (isBehind ? Self.first : Self.none) : rung }

  public init() {
    encoding = Array(repeating: nil, count: Self.ladder.count)
  }

  /// The rung that a sample is to be encoded with.
  public static let sampleRung = first

  /// Takes in what a frame took, and decides anew when enough have come.
  public mutating func note(_ frame: Frame) {
    guard frame.dataByteCount > 0 else { return }
    countTowardsSample(frame)
    if settling > 0 {
      settling -= 1
      // Larger frames than before, and stuck already: there is nothing to wait for.
      if settlesDownwards, Self.isMostlyWaiting(Double(frame.waiting), Double(frame.elapsed)) { settling = 0 }
      return
    }
    window.add(frame, isOwn: frame.rung == rung)
    if frame.rung != rung {
      let (data, share) = (Double(frame.dataByteCount), contentShare(Double(frame.dataByteCount)))
      learn(rung: frame.rung, nanoseconds: Double(frame.encoding) / data, share: share)
      learn(rung: frame.rung, ratio: data / Double(max(1, frame.wireByteCount)), share: share)
    }
    guard isFirstWindow ? window.frameCount >= Self.firstWindowFrameCount : isWindowFull else { return }
    let before = rung
    learn()
    if rung == before { decide() }
    window = Window()
    isFirstWindow = false
  }

  /// Takes in what the rung ``sampleRung`` made of some pages that travel raw.
  public mutating func noteSample(dataByteCount: Int, wireByteCount: Int, encoding: UInt64) {
    wantsSample = false
    let share = contentShare(dataSinceSample)
    dataSinceSample = 0
    learn(rung: Self.sampleRung, nanoseconds: Double(encoding) / Double(dataByteCount), share: share)
    learn(rung: Self.sampleRung, ratio: Double(dataByteCount) / Double(max(1, wireByteCount)), share: share)
  }

  private mutating func countTowardsSample(_ frame: Frame) {
    guard frame.rung == Self.none else { return }
    dataSinceSample += Double(frame.dataByteCount)
    framesSinceSample += 1
    guard framesSinceSample >= Self.samplingInterval else { return }
    framesSinceSample = 0
    wantsSample = true
  }

  private var isWindowFull: Bool {
    guard window.elapsed >= Self.windowTime else { return false }
    return window.frameCount >= Self.windowFrameCount
      || window.frameCount >= Self.stuckFrameCount && Self.isMostlyWaiting(window.waiting, window.elapsed)
  }

  private static func isMostlyWaiting(_ waiting: Double, _ elapsed: Double) -> Bool { waiting > elapsed / 2 }

  // MARK: Learning

  /// The weight of something seen over `data` bytes: a plain average at first, one that forgets later.
  private mutating func contentShare(_ data: Double) -> Double {
    seenData += data
    return max(1 - exp(-data / Self.contentMemory), data / seenData)
  }

  private static func hostShare(_ elapsed: Double) -> Double { 1 - exp(-elapsed / hostMemory) }

  private mutating func learn() {
    let share = contentShare(window.own.data)
    if window.own.data > 0 {
      learn(rung: rung, nanoseconds: window.own.encoding / window.own.data, share: share)
      learn(rung: rung, ratio: window.own.data / max(1, window.own.wire), share: share)
    }
    let rest = max(0, window.working - window.encoding - window.sending)
    Self.blend(&reading, rest / window.data, share)
    Self.blend(&sending, window.sending / max(1, window.wire), share)
    // Of so short a time nothing can be said about link and host.
    guard !isFirstWindow || window.elapsed >= Self.windowTime else { return }
    let waiting = learnLink()
    let busy = max(1, (window.elapsed - waiting) / max(1, window.working))
    Self.blend(&busyness, min(busy, 4), Self.hostShare(window.elapsed))
  }

  /// Learns what the link takes for a byte.
  /// - Returns: how much of the window's waiting was for the link.
  private mutating func learnLink() -> Double {
    holdLeft -= window.elapsed
    // Who waits for room, or has frames that do, has a channel that is busy: the kernel counts in ticks, and too little.
    let onItsWay = min(window.elapsed, max(window.busy, window.waiting))
    // What a byte took of the channel, with a fair share of the link; if the destination was not the limit, it was the
    // link that took it.
    let seen = onItsWay / max(1, window.fair)
    let isHeld = holdLeft > 0 && window.isDoubtful
    let isBusy = onItsWay > window.elapsed / 2
    guard window.waiting > Self.waitingShare * window.elapsed, isBusy, !isHeld else {
      guard let known = link else { return 0 }
      // What it could not do may be long past. And it took this much without making us wait; but a buffer that had run
      // empty may have taken it, and short times on its way are counted as none: one such window says little.
      let faded = known * exp2(-window.elapsed / Self.forgettingTime)
      link = faded + (min(faded, seen) - faded) * 0.1
      return 0
    }
    if window.isDoubtful, let trial, onItsWay / max(1, window.wire) > trial.link * Self.contradiction {
      change(to: trial.from)
      link = nil
      holdLeft = nextHold
      nextHold = min(nextHold * 2, Self.longestHold)
      return 0
    }
    link = link.map { $0 + (seen - $0) * Self.hostShare(window.elapsed) } ?? seen
    return window.waiting
  }

  private mutating func learn(rung: Int, nanoseconds: Double, share: Double) {
    var known = encoding[rung] ?? nanoseconds
    Self.blend(&known, nanoseconds, share)
    encoding[rung] = known
    if rung != Self.none { Self.blend(&slowness, known / Self.ladder[rung].nanoseconds, share) }
  }

  private mutating func learn(rung: Int, ratio: Double, share: Double) {
    guard rung != Self.none else { return }
    // Averages of time per byte: so the average of what is left of a byte, not of ratios.
    let left = exp(-Self.ladder[rung].reduction * compressibility)
    let blended = left + (min(1, 1 / ratio) - left) * share
    compressibility = -log(max(blended, 1e-3)) / Self.ladder[rung].reduction
  }

  private static func blend(_ value: inout Double, _ new: Double, _ share: Double) { value += (new - value) * share }

  // MARK: Deciding

  /// Nanoseconds that a byte of guest memory would take on `rung`.
  private func cost(_ index: Int) -> Double {
    let wire = exp(-Self.ladder[index].reduction * compressibility)
    let work = reading + (encoding[index] ?? Self.ladder[index].nanoseconds * slowness) + sending * wire
    return max(work * busyness, (link ?? 0) * wire)
  }

  /// No codec makes the lane wait for the link, and the first one the link for the lane: but not by far.
  private func canMix() -> Bool {
    guard rung == Self.none || rung == Self.first, let link, !window.isDoubtful || isMixed else { return false }
    let wire = exp(-Self.ladder[Self.first].reduction * compressibility)
    let works = [Self.none, Self.first].map {
      (reading + (encoding[$0] ?? Self.ladder[$0].nanoseconds * slowness)) * busyness
    }
    return link > works[0] && link * wire < works[1] && works[1] < link * Self.mixable
  }

  private mutating func decide() {
    isMixed = canMix()
    recentChanges *= exp2(-window.elapsed / Self.restingTime)
    var best = cost(Self.none)
    for index in Self.ladder.indices { best = min(best, cost(index)) }
    let target = Self.ladder.indices.first { cost($0) <= best * Self.closeEnough } ?? rung
    candidate = (target, target == candidate.rung ? candidate.count + 1 : 1)
    let saved = 1 - cost(target) / cost(rung)
    guard target != rung, saved > saving(asked: target),
      isFirstWindow || saved > Self.urgent && !window.isDoubtful || candidate.count >= Self.agreeingWindowCount
    else { return }
    change(to: target)
  }

  private mutating func change(to target: Int) {
    // A second step up is still the same trial.
    trial = target > rung ? trial ?? link.map { (rung, $0) } : nil
    settlesDownwards = target < rung
    rung = target
    changeCount += 1
    recentChanges += 1
    settling = Self.settlingFrameCount
  }

  /// What a change to `target` has to save, as a share of the time.
  private func saving(asked target: Int) -> Double {
    let (from, to) = (Self.ladder[rung], Self.ladder[target])
    let unrest = Self.restlessness * recentChanges
    if to.choice.tag == .zstdLong, from.choice.tag == .zstdLong { return Self.worthwhileRestart + unrest }
    if from.choice.tag == .zstdLong, target != Self.none, target < rung { return Self.worthwhileForgetting + unrest }
    return to.nanoseconds < from.nanoseconds * Self.lighter ? -Self.lighterMayCost : Self.worthwhile + unrest
  }
}
