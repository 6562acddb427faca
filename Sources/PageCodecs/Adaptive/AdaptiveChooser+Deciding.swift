// SPDX-License-Identifier: Apache-2.0
import Glibc

extension AdaptiveChooser {
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
  private static let restlessness = 0.03
  private static let restingTime = 6e9
  /// A change to a rung that encodes in less than this share of the time need not save any, and may cost a little.
  private static let lighter = 0.5
  private static let lighterMayCost = 0.01
  /// A saving that is not to be slept on: one window suffices.
  private static let urgent = 0.3
  /// A rung that promises within so much of the best, for less work, is taken instead.
  private static let closeEnough = 1.02

  /// Moves to what the model prefers, if that is worth it.
  mutating func decide() {
    recentChanges *= exp2(-window.elapsed / Self.restingTime)
    let here = mix(rung)
    let now = here?.cost ?? model.cost(rung)
    var best = model.cost(Self.none)
    for index in Self.ladder.indices { best = min(best, model.cost(index)) }
    var target = Self.ladder.indices.first { model.cost($0) <= best * Self.closeEnough } ?? rung
    var cost = model.cost(target)
    var partner: Int?
    if let mix = mix(), mix.cost < cost { (target, cost, partner) = (mix.light, mix.cost, mix.heavy) }
    candidate = (target, target == candidate.rung ? candidate.count + 1 : 1)
    let saved = 1 - cost / now
    guard target != rung, saved > saving(asked: target),
      isFirstWindow || saved > Self.urgent && !window.isDoubtful || candidate.count >= Self.agreeingWindowCount
    else {
      heavier = here?.heavy
      return
    }
    change(to: target)
    heavier = partner
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
