// SPDX-License-Identifier: Apache-2.0
import Glibc

/// What ``AdaptiveChooser`` has learned of a lane, its content and its link, and what follows from it for each rung.
///
/// Times are nanoseconds per byte.
struct LaneModel: Sendable {
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

  private let ladder: [AdaptiveChooser.Rung]
  /// Data bytes that averages rest on so far: of work, and of what of the content. Raw pages tell nothing of content, and a
  /// codec only of what it uses.
  private var seenData = 0.0
  private var seenMatching = 0.0
  private var seenSkew = 0.0
  /// CPU time per data byte of each rung's encoding; nil until it was used.
  private var encoding: [Double?]
  /// CPU time per data byte of everything else, and per wire byte of sending (where the lane does it).
  private var reading = 0.0
  private var sending = 0.0
  /// How much longer work takes than it is on the CPU.
  private var busyness = 1.0
  /// How much slower than the ladder's figures this machine is.
  private var slowness = 1.0
  /// How much more than in the ladder's figures there is of what makes content compress: multiplies both.
  private var matching = 1.0
  private var skew = 1.0
  /// What the link takes for a wire byte; nil as long as the lane never waited.
  private(set) var link: Double?
  /// The same, if the lane waited in the last window.
  private(set) var linkSeen: Double?
  /// How long waiting is still taken for the destination's doing, and how long that will be the next time; nanoseconds.
  private var holdLeft = 0.0
  private var nextHold = LaneModel.firstHold

  init(ladder: [AdaptiveChooser.Rung]) {
    self.ladder = ladder
    encoding = Array(repeating: nil, count: ladder.count)
  }

  // MARK: Predicting

  /// What a byte of guest memory would take on a rung, of lane and link together.
  func cost(_ rung: Int) -> Double { max(work(rung), (link ?? 0) * left(rung)) }

  /// What it would take of the lane.
  func work(_ rung: Int) -> Double {
    (reading + (encoding[rung] ?? ladder[rung].nanoseconds * slowness) + sending * left(rung)) * busyness
  }

  /// What is left of a byte.
  func left(_ rung: Int) -> Double { exp(-reduction(rung)) }

  private func reduction(_ rung: Int) -> Double { ladder[rung].matching * matching + ladder[rung].skew * skew }

  // MARK: Learning

  /// Takes in what a codec made of some pages.
  /// - Parameters:
  ///   - dataByteCount, wireByteCount: before and after.
  ///   - encoding: CPU time that it took, in nanoseconds.
  ///   - seen: data bytes that these stand for.
  mutating func learn(rung: Int, dataByteCount: Double, wireByteCount: Double, encoding: Double, seen: Double) {
    learn(rung: rung, nanoseconds: encoding / dataByteCount, share: Self.contentShare(seen, of: &seenData))
    learn(rung: rung, ratio: dataByteCount / max(1, wireByteCount), seen: seen)
  }

  /// Takes in a window of frames, most of which had one rung.
  /// - Parameters:
  ///   - isLong: whether it says something about link and host, too.
  ///   - trialLink: what the link was thought to take before a stronger codec was tried; nil if that is not so.
  /// - Returns: false if the trial has shown that it is not the link that the lane waits for.
  mutating func learn(_ window: FrameWindow, rung: Int, isLong: Bool, trialLink: Double?) -> Bool {
    let share = Self.contentShare(window.own.data, of: &seenData)
    if window.own.data > 0 {
      learn(rung: rung, nanoseconds: window.own.encoding / window.own.data, share: share)
      learn(rung: rung, ratio: window.own.data / max(1, window.own.wire), seen: window.own.data)
    }
    let rest = max(0, window.working - window.encoding - window.sending)
    Self.blend(&reading, rest / window.data, share)
    Self.blend(&sending, window.sending / max(1, window.wire), share)
    guard isLong else { return true }
    linkSeen = nil
    let waiting = learnLink(window, trialLink: trialLink)
    let busy = max(1, (window.elapsed - (waiting ?? 0)) / max(1, window.working))
    Self.blend(&busyness, min(busy, 4), Self.hostShare(window.elapsed))
    return waiting != nil
  }

  /// Learns what the link takes for a byte.
  /// - Returns: how much of the window's waiting was for the link; nil if a trial has failed.
  private mutating func learnLink(_ window: FrameWindow, trialLink: Double?) -> Double? {
    holdLeft -= window.elapsed
    // Who waits for room, or has frames that do, has a channel that is busy: the kernel counts in ticks, and too little.
    let onItsWay = min(window.elapsed, max(window.busy, window.waiting))
    // What a byte took of the channel, with a fair share of the link; if the destination was not the limit, it was the
    // link that took it.
    let seen = onItsWay / max(1, window.fair)
    let isHeld = holdLeft > 0 && window.isDoubtful
    let isBusy = onItsWay > window.elapsed / 2
    guard window.waiting > Self.waitingShare * window.elapsed, isBusy, !isHeld else {
      // Who has little to send does not wait for a link that others fill.
      if let other = window.linkOfOthers, holdLeft <= 0 {
        link = link.map { $0 + (other - $0) * Self.hostShare(window.elapsed) } ?? other
        return 0
      }
      guard let known = link else { return 0 }
      // What it could not do may be long past. And it took this much without making us wait; but a buffer that had run
      // empty may have taken it, and short times on its way are counted as none: one such window says little.
      let faded = known * exp2(-window.elapsed / Self.forgettingTime)
      link = faded + (min(faded, seen) - faded) * 0.1
      return 0
    }
    if window.isDoubtful, let trialLink, onItsWay / max(1, window.wire) > trialLink * Self.contradiction {
      link = nil
      holdLeft = nextHold
      nextHold = min(nextHold * 2, Self.longestHold)
      return nil
    }
    link = link.map { $0 + (seen - $0) * Self.hostShare(window.elapsed) } ?? seen
    linkSeen = link
    return window.waiting
  }

  private mutating func learn(rung: Int, nanoseconds: Double, share: Double) {
    var known = encoding[rung] ?? nanoseconds
    Self.blend(&known, nanoseconds, share)
    encoding[rung] = known
    if rung != AdaptiveChooser.none { Self.blend(&slowness, known / ladder[rung].nanoseconds, share) }
  }

  private mutating func learn(rung: Int, ratio: Double, seen: Double) {
    guard rung != AdaptiveChooser.none else { return }
    let (hasMatching, hasSkew) = (ladder[rung].matching > 0, ladder[rung].skew > 0)
    var share = 0.0
    if hasMatching { share = Self.contentShare(seen, of: &seenMatching) }
    if hasSkew { share = max(share, Self.contentShare(seen, of: &seenSkew)) }
    // Averages of time per byte: so the average of what is left of a byte, not of ratios.
    var left = left(rung)
    Self.blend(&left, min(1, 1 / ratio), share)
    let (before, after) = (reduction(rung), -log(min(max(left, 1e-3), 1)))
    // A rung that uses both does not tell how much is whose: they keep their proportion, where they have one.
    let alike = after / (ladder[rung].matching + ladder[rung].skew)
    let scale = before > 0.01 ? after / before : nil
    if hasMatching { matching = scale.map { $0 * matching } ?? alike }
    if hasSkew { skew = scale.map { $0 * skew } ?? alike }
  }

  /// The weight of something seen over `data` bytes, besides what was `seen`: a plain average at first, one that forgets
  /// later.
  private static func contentShare(_ data: Double, of seen: inout Double) -> Double {
    seen += data
    return max(1 - exp(-data / contentMemory), data / max(1, seen))
  }

  private static func hostShare(_ elapsed: Double) -> Double { 1 - exp(-elapsed / hostMemory) }

  private static func blend(_ value: inout Double, _ new: Double, _ share: Double) { value += (new - value) * share }
}
