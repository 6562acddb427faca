// SPDX-License-Identifier: Apache-2.0

extension AdaptiveChooser {
  /// The first codec may take this much longer than the link takes for raw pages, to be mixed with them.
  private static let mixable = 1.5

  /// Whether no codec makes the lane wait for the link, and the first one the link for the lane: but not by far.
  func canMix() -> Bool {
    guard rung == Self.none || rung == Self.first, let link = model.link, !window.isDoubtful || isMixed else {
      return false
    }
    let works = (model.work(Self.none), model.work(Self.first))
    return link > works.0 && link * model.left(Self.first) < works.1 && works.1 < link * Self.mixable
  }
}
