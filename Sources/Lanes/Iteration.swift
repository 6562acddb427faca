// SPDX-License-Identifier: Apache-2.0

/// One pass over the pending map, as the migration orders it.
public struct Iteration: Sendable, Equatable {
  /// From 1, the bulk stage.
  public var number: UInt32
  public var kind: Kind

  public enum Kind: Sendable, Equatable {
    /// Everything, for the first time. Of a guest that runs, spans that are being written come last.
    case bulk
    /// What was dirtied meanwhile. Hot spans come last, or stay pending if they are to be held back.
    case again(holdBack: Bool)
    /// The guest is paused: everything that is left, as fast as possible.
    case last
    /// Whatever has come since the last one, some of it for the first time, the rest again: of a guest whose pages come in a
    /// stream, and go in many short iterations.
    case mixed
  }

  public init(number: UInt32, kind: Kind) {
    self.number = number
    self.kind = kind
  }
}
