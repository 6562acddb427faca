// SPDX-License-Identifier: Apache-2.0

extension AdaptiveChooser {
  /// Two rungs that take turns, and what a byte then takes of lane and link together.
  struct Mix {
    let light: Int
    let heavy: Int
    let cost: Double
  }

  /// Share of its time that a mix has to save.
  private static let worthMixing = 0.03
  /// The heavier rung may take so many times as long as the link for a byte that is not encoded: what is queued while the
  /// lane works on a frame has to last until it is done.
  private static let patience = 2.5

  /// The best mix of `light` with any heavier rung, if lane and link are both busy with it, and less so without.
  func mix(_ light: Int) -> Mix? {
    // Where it may be the destination that is waited for, a mix that is under way goes on, but none begins.
    guard let link = model.link, !window.isDoubtful || heavier != nil, !Self.ladder[light].hasHistory else {
      return nil
    }
    var best: Mix?
    for heavy in Self.ladder.indices where heavy > light && !Self.ladder[heavy].hasHistory {
      // Of the bytes, what the link is slower at than the lane, by what the heavier rung makes up for.
      let slower = link * model.left(light) - model.work(light)
      let madeUp = model.work(heavy) - model.work(light) + link * (model.left(light) - model.left(heavy))
      guard slower > 0, slower < madeUp, model.work(heavy) < Self.patience * link * model.left(light) else { continue }
      let cost = model.work(light) + slower / madeUp * (model.work(heavy) - model.work(light))
      if cost < (best?.cost ?? model.cost(light) * (1 - Self.worthMixing)) {
        best = Mix(light: light, heavy: heavy, cost: cost)
      }
    }
    return best
  }

  /// The best of all mixes.
  func mix() -> Mix? { Self.ladder.indices.compactMap { mix($0) }.min { $0.cost < $1.cost } }
}
