// SPDX-License-Identifier: Apache-2.0

/// Where iterations end up if nothing changes: each leaves what is written while it lasts.
///
/// Iterations go over a working set of `W` in the same order each time, so in the end each page is looked at once in the
/// time `S` of a walk, and `W(1 − e^(−rS/W))` of them, written at a rate of `r`, are sent in it at a rate of `T`:
/// `TS = W(1 − e^(−rS/W))`. When a walk is over, pages were sent 0 to `S` seconds ago, and those written since are the
/// mean of `W(1 − e^(−rt/W))` over that: with the line above `W(1 − T/r)`. It is less than what the walk itself sends. A
/// guest that writes no more than is sent leaves nothing.
public struct Plateau: Sendable, Equatable {
  /// What iterations leave in the end, in bytes.
  public let left: Double

  /// - Parameters:
  ///   - dirtyRate, transferRate: bytes per second.
  ///   - workingSet: in bytes.
  public init(dirtyRate: Double, transferRate: Double, workingSet: Double) {
    guard workingSet > 0, dirtyRate > transferRate, transferRate > 0 else {
      left = 0
      return
    }
    left = workingSet * (1 - transferRate / dirtyRate)
  }

  /// The ratio of dirty rate to transfer rate whose plateau is `share` of the working set, 0 to 1: at least 1.
  public static func ratio(leaving share: Double) -> Double {
    guard share > 0 else { return 1 }
    return share < 1 ? 1 / (1 - share) : .infinity
  }
}
