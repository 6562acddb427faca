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
    Rung(choice: CodecChoice(tag: .zstdLong, level: 1), nanoseconds: 2.2, reduction: 1.16),
    Rung(choice: CodecChoice(tag: .zstdLong, level: 3), nanoseconds: 3.2, reduction: 1.20),
    Rung(choice: CodecChoice(tag: .zstdLong, level: 6), nanoseconds: 6.5, reduction: 1.25),
  ]
  /// No compression, and the first rung with a codec: what a lane begins with.
  private static let (none, first) = (0, 1)

  /// What an operator calls a rung.
  public static func name(ofRung rung: Int) -> String { ladder[rung].choice.description }

  /// What happened to one frame. Times are in nanoseconds.
  public struct Frame: Sendable {
    /// The rung it was encoded with.
    public var rung: Int
    /// Bytes of its data pages, and of the whole frame on the wire.
    public var dataByteCount: Int
    public var wireByteCount: Int
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
      rung: Int, dataByteCount: Int, wireByteCount: Int, elapsed: UInt64, waiting: UInt64, busy: UInt64,
      receiverLimited: UInt64, working: UInt64, encoding: UInt64, sending: UInt64
    ) {
      self.rung = rung
      self.dataByteCount = dataByteCount
      self.wireByteCount = wireByteCount
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
    var elapsed = 0.0
    var waiting = 0.0
    var busy = 0.0
    var receiverLimited = 0.0
    var working = 0.0
    var encoding = 0.0
    var sending = 0.0

    /// Whether it may be the destination that the lane waits for, rather than the link.
    var isDoubtful: Bool { receiverLimited > 0.3 * busy }

    mutating func add(_ frame: Frame) {
      frameCount += 1
      data += Double(frame.dataByteCount)
      wire += Double(frame.wireByteCount)
      elapsed += Double(frame.elapsed)
      waiting += Double(frame.waiting)
      busy += Double(frame.busy)
      receiverLimited += Double(frame.receiverLimited)
      working += Double(frame.working)
      encoding += Double(frame.encoding)
      sending += Double(frame.sending)
    }
  }

  /// Frames that a decision rests on: some MiB, since frames differ by what they hold.
  private static let windowFrameCount = 8
  /// And some time, in nanoseconds: a thread that loses its CPU loses it for milliseconds.
  private static let windowTime = 20e6
  /// Frames after a change that say nothing: the ring and the socket still hold those from before.
  private static let settlingFrameCount = 6
  /// Windows in a row that have to agree on a change: frames differ, and one window may be an exception.
  private static let agreeingWindowCount = 2
  /// Share of its time that a change has to save: more than the noise, and less than what `auto` may lose.
  private static let worthwhile = 0.04
  /// Between two rungs with a history, more: a change throws the history away.
  private static let worthwhileRestart = 0.10
  /// What each change of late adds to that, so that a lane between two rungs comes to rest.
  private static let restlessness = 0.02
  /// Half of a change is forgotten in this time, in nanoseconds.
  private static let restingTime = 6e9
  /// A change to a rung that encodes in less than this share of the time need not save any, and may cost a little.
  private static let lighter = 0.5
  private static let lighterMayCost = 0.01
  /// A saving that is not to be slept on: one window suffices, and it may be a short one.
  private static let urgent = 0.3
  private static let urgentFrameCount = 3
  /// A rung that promises within so much of the best, for less work, is taken instead.
  private static let closeEnough = 1.01
  /// Share of its time that a lane has to wait for the link to be taken as limited by it.
  private static let waitingShare = 0.08
  /// Bytes that flow so much more slowly after a trial were not held back by the link.
  private static let contradiction = 1.4
  /// How long the outcome of a failed trial holds, in nanoseconds, at first and at most.
  private static let firstHold = 0.5e9
  private static let longestHold = 16e9
  /// In this time, in nanoseconds, half of a memory goes that nothing refreshes: a link can become faster unseen.
  private static let forgettingTime = 2.5e9
  /// Share of a lane's time for looking, without need, at what a codec would do.
  private static let samplingShare = 0.004

  /// The rung in use, as an index into the ladder.
  public private(set) var rung = AdaptiveChooser.first
  /// How often the rung has changed.
  public private(set) var changeCount = 0

  private var window = Window()
  private var settling = 0
  /// The change was to a rung that encodes less.
  private var settlesDownwards = false
  /// The rung that the last windows would have changed to, and how many they were.
  private var candidate = (rung: AdaptiveChooser.first, count: 0)
  /// Changes of late; old ones count less and less.
  private var recentChanges = 0.0
  private var framesSinceSample = 0
  private var isFirstWindow = true
  /// Nanoseconds per data byte of each rung's encoding; nil until it was used.
  private var encoding: [Double?]
  /// Nanoseconds per data byte of everything else, and per wire byte of sending (where the lane does it).
  private var reading = 0.0
  private var sending = 0.0
  /// How much longer work takes than it is on the CPU.
  private var busyness = 1.0
  /// How much slower than the ladder's figures this machine is, now.
  private var slowness = 1.0
  /// How much better than the ladder's figures the content compresses: multiplies `reduction`.
  private var compressibility = 1.0
  /// Nanoseconds of the link per wire byte; nil as long as the lane never waited.
  private var link: Double?
  /// The last change was to a stronger codec, and nothing has been learned since.
  private var isTrial = false
  /// How long waiting is still taken for the destination's doing, and how long that will be the next time.
  private var holdLeft = 0.0
  private var nextHold = AdaptiveChooser.firstHold
  /// What the rungs took beyond what was predicted, as a factor of at least 1: the model does not know everything.
  private var surprise: [Double]

  public init() {
    encoding = Array(repeating: nil, count: Self.ladder.count)
    surprise = Array(repeating: 1, count: Self.ladder.count)
  }

  /// The rung for the next frame: the one in use, or now and then another, to see what it would do.
  public mutating func next() -> Int {
    guard rung == Self.none, window.frameCount > 0 || !isFirstWindow else { return rung }
    framesSinceSample += 1
    // What a sample costs, in frames without one.
    let frames = (encoding[Self.first] ?? Self.ladder[Self.first].nanoseconds) / max(reading + sending, 0.05)
    guard Double(framesSinceSample) > max(64, frames / Self.samplingShare) else { return rung }
    framesSinceSample = 0
    return Self.first
  }

  /// Takes in what a frame took, and decides anew when enough have come.
  public mutating func note(_ frame: Frame) {
    guard frame.dataByteCount > 0 else { return }
    guard frame.rung == rung else {
      noteSample(frame)
      return
    }
    if settling > 0 {
      settling -= 1
      // Larger frames than before, and stuck already: there is nothing to wait for.
      if settlesDownwards, Self.isMostlyWaiting(Double(frame.waiting), Double(frame.elapsed)) { settling = 0 }
      return
    }
    window.add(frame)
    guard isFirstWindow ? window.frameCount >= Self.windowFrameCount / 2 : isWindowFull else { return }
    learn()
    decide()
    window = Window()
    isFirstWindow = false
  }

  /// A single frame says something about speed and content; the window goes on without it.
  private mutating func noteSample(_ frame: Frame) {
    let data = Double(frame.dataByteCount)
    learn(rung: frame.rung, nanoseconds: Double(frame.encoding) / data, share: 0.25)
    learn(rung: frame.rung, ratio: data / Double(max(1, frame.wireByteCount)), share: 0.25)
  }

  private var isWindowFull: Bool {
    guard window.elapsed >= Self.windowTime else { return false }
    return window.frameCount >= Self.windowFrameCount
      || window.frameCount >= Self.urgentFrameCount && Self.isMostlyWaiting(window.waiting, window.elapsed)
  }

  private static func isMostlyWaiting(_ waiting: Double, _ elapsed: Double) -> Bool { waiting > elapsed / 2 }

  private mutating func learn() {
    let share = 0.5
    learn(rung: rung, nanoseconds: window.encoding / window.data, share: share)
    learn(rung: rung, ratio: window.data / max(1, window.wire), share: share)
    let rest = max(0, window.working - window.encoding - window.sending)
    Self.blend(&reading, rest / window.data, isFirstWindow ? 1 : share)
    Self.blend(&sending, window.sending / max(1, window.wire), isFirstWindow ? 1 : share)
    let waiting = learnLink()
    // One window may hold a CPU lost for milliseconds: it counts, but not for much.
    let busy = max(1, (window.elapsed - waiting) / max(1, window.working))
    Self.blend(&busyness, min(busy, 3), 0.2)
    let expected = cost(rung) / surprise[rung]
    let factor = min(4, max(1, window.elapsed / window.data / max(expected, 1e-6)))
    for index in surprise.indices where index != rung {
      surprise[index] = 1 + (surprise[index] - 1) * exp2(-window.elapsed / Self.forgettingTime)
    }
    Self.blend(&surprise[rung], factor, 0.25)
  }

  /// Learns what the link takes for a byte.
  /// - Returns: how much of the window's waiting was for the link.
  private mutating func learnLink() -> Double {
    let seen = window.elapsed / max(1, window.wire)
    let wasTrial = isTrial
    isTrial = false
    holdLeft -= window.elapsed
    let isHeld = holdLeft > 0 && window.isDoubtful
    guard window.waiting > Self.waitingShare * window.elapsed, !isHeld else {
      guard let known = link else { return 0 }
      // What it could not do may be long past. And it took this much without making us wait; but a buffer that had run
      // empty may have taken it, so that one such window says little. That it was idle says more.
      let faded = known * exp2(-window.elapsed / Self.forgettingTime)
      let idle = window.busy < window.elapsed / 2
      let bound = idle ? max(0, window.busy - window.receiverLimited) / max(1, window.wire) : seen
      link = faded + (min(faded, bound) - faded) * (idle ? 0.5 : 0.1)
      return 0
    }
    if wasTrial, window.isDoubtful, let known = link, seen > known * Self.contradiction {
      link = nil
      holdLeft = nextHold
      nextHold = min(nextHold * 2, Self.longestHold)
      return 0
    }
    link = link.map { ($0 + seen) / 2 } ?? seen
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
    Self.blend(&compressibility, max(0, log(ratio)) / Self.ladder[rung].reduction, share)
  }

  private static func blend(_ value: inout Double, _ new: Double, _ share: Double) { value += (new - value) * share }

  /// Nanoseconds that a byte of guest memory would take on `rung`.
  private func cost(_ index: Int) -> Double {
    let wire = exp(-Self.ladder[index].reduction * compressibility)
    let work = reading + (encoding[index] ?? Self.ladder[index].nanoseconds * slowness) + sending * wire
    return max(work * busyness, (link ?? 0) * wire) * surprise[index]
  }

  private mutating func decide() {
    recentChanges *= exp2(-window.elapsed / Self.restingTime)
    let costs = Self.ladder.indices.map { cost($0) }
    let best = costs.min() ?? 0
    let target = costs.firstIndex { $0 <= best * Self.closeEnough } ?? rung
    candidate = (target, target == candidate.rung ? candidate.count + 1 : 1)
    let saved = 1 - costs[target] / costs[rung]
    guard target != rung, saved > saving(asked: target),
      isFirstWindow || saved > Self.urgent && !window.isDoubtful || candidate.count >= Self.agreeingWindowCount
    else { return }
    settlesDownwards = target < rung
    isTrial = target > rung
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
    return to.nanoseconds < from.nanoseconds * Self.lighter ? -Self.lighterMayCost : Self.worthwhile + unrest
  }
}
