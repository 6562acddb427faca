// SPDX-License-Identifier: Apache-2.0

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
/// Frames need not agree: where a rung leaves the lane waiting for the link, and a heavier one the link for the lane, a
/// frame is encoded with the heavier one if the link is behind when it begins, and with the lighter one if not. So both
/// are busy all the time, which no single rung gives.
///
/// What it learns: each rung's CPU time per byte; how much longer than that work takes on a host that is busy with other
/// things; how compressible the content is now, as two factors that all rungs share (how much comes again, and how uneven
/// bytes are); the link's time per byte, whenever this lane or lately another had to wait for it. What a rung is not known
/// to do is taken from figures of a real guest, scaled by what the rungs that were used did. It begins with raw pages, and
/// looks at what codecs would do with a few of them.
///
/// A value without clocks or threads: what happened goes in, the next rung comes out.
public struct AdaptiveChooser: Sendable {
  /// A decision is made after so many frames and so much time, in nanoseconds: a thread that loses its CPU loses it for
  /// milliseconds, and the kernel counts a channel's busy time in steps of up to 10 ms. The first rests on less.
  private static let windowFrameCount = 8
  private static let windowTime = 20e6
  private static let firstWindowFrameCount = 4
  /// So few frames suffice where the lane mostly waits.
  private static let stuckFrameCount = 3
  /// Frames after a change that say nothing: the ring and the socket still hold those from before.
  private static let settlingFrameCount = 6
  /// A lane whose codec does not tell all of the content looks this often, in frames, at what others would do with some of
  /// it; at the start more often, so many times.
  private static let samplingInterval = 32
  private static let firstSampleCount = 4
  /// Data bytes that a sample may stand for: it is small, and may not be like the rest.
  private static let sampleWeightMax = 8e6

  /// The rung in use, as an index into the ladder.
  public private(set) var rung = AdaptiveChooser.none
  /// How often the rung has changed.
  public private(set) var changeCount = 0
  /// Whether it is time to encode a sample of the next frame with each of ``sampleRungs(ofFrame:)``, for
  /// ``noteSample(rung:dataByteCount:wireByteCount:encoding:)``.
  public private(set) var wantsSample = true

  /// The rung that takes turns with the one in use.
  var heavier: Int?
  var model = LaneModel(ladder: AdaptiveChooser.ladder)
  var window = FrameWindow()
  var isFirstWindow = true
  private var settling = 0
  /// The change was to a rung that encodes less.
  private var settlesDownwards = false
  /// The last change was to a stronger codec: the rung before it, and what the link was thought to take for a byte.
  private var trial: (from: Int, link: Double)?
  /// The rung that the last windows would have changed to, and how many they were.
  var candidate = (rung: AdaptiveChooser.none, count: 0)
  /// Changes of late; old ones count less and less.
  var recentChanges = 0.0
  private var framesSinceSample = 0
  private var sampleCount = 0
  /// Data bytes since the last sample, and those that the next one stands for.
  private var dataSinceSample = 0.0
  private var sampleWeight = 1e6

  public init() {}

  /// The rung for the frame that begins now.
  /// - Parameter isBehind: whether frames wait for the link.
  public func rung(isBehind: Bool) -> Int { isBehind ? heavier ?? rung : rung }

  /// Whether frames travel as they are, whatever the link does.
  public var isPlain: Bool { rung == Self.none && heavier == nil }

  /// What the link took for a byte, in nanoseconds, if the lane had to wait for it lately.
  public var linkSeen: Double? { model.linkSeen }

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
      model.learn(
        rung: frame.rung, dataByteCount: Double(frame.dataByteCount), wireByteCount: Double(frame.wireByteCount),
        encoding: Double(frame.encoding), seen: Double(frame.dataByteCount))
    }
    guard isFirstWindow ? window.frameCount >= Self.firstWindowFrameCount : isWindowFull else { return }
    // Of a short time nothing can be said about link and host.
    let isLong = !isFirstWindow || window.elapsed >= Self.windowTime
    if model.learn(window, rung: rung, isLong: isLong, trialLink: trial?.link) {
      decide()
    } else if let trial {
      change(to: trial.from)
    }
    window = FrameWindow()
    isFirstWindow = false
  }

  /// Takes in what one of ``sampleRungs(ofFrame:)`` made of some pages that travel raw.
  public mutating func noteSample(rung: Int, dataByteCount: Int, wireByteCount: Int, encoding: UInt64) {
    wantsSample = false
    model.learn(
      rung: rung, dataByteCount: Double(dataByteCount), wireByteCount: Double(wireByteCount),
      encoding: Double(encoding), seen: sampleWeight)
  }

  private mutating func countTowardsSample(_ frame: Frame) {
    guard !Self.ladder[frame.rung].tellsAll else { return }
    dataSinceSample += Double(frame.dataByteCount)
    framesSinceSample += 1
    guard framesSinceSample >= (sampleCount < Self.firstSampleCount ? 1 : Self.samplingInterval) else { return }
    sampleCount += 1
    framesSinceSample = 0
    sampleWeight = min(dataSinceSample, Self.sampleWeightMax)
    dataSinceSample = 0
    wantsSample = true
  }

  private var isWindowFull: Bool {
    guard window.elapsed >= Self.windowTime else { return false }
    return window.frameCount >= Self.windowFrameCount
      || window.frameCount >= Self.stuckFrameCount && Self.isMostlyWaiting(window.waiting, window.elapsed)
  }

  private static func isMostlyWaiting(_ waiting: Double, _ elapsed: Double) -> Bool { waiting > elapsed / 2 }

  mutating func change(to target: Int) {
    // A second step up is still the same trial.
    trial = target > rung ? trial ?? model.link.map { (rung, $0) } : nil
    settlesDownwards = target < rung
    rung = target
    heavier = nil
    changeCount += 1
    recentChanges += 1
    settling = Self.settlingFrameCount
  }
}
