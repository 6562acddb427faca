// SPDX-License-Identifier: Apache-2.0
import Glibc

/// Where iterations end up if nothing changes: each leaves what is written while it lasts.
///
/// A guest that writes `r` bytes a second all over a working set of `W` leaves `W(1 − e^(−rt/W))` of it dirty after `t`
/// seconds, and sending `x` bytes takes `x/T` seconds: iterations approach the `x` for which both agree. With
/// `ρ = r/T` and `x` as a share of `W` that is `x = 1 − e^(−ρx)`, which is 0 up to `ρ = 1`: a guest that writes no more
/// than is sent always converges, and one that writes more leaves a plateau, which may still fit into the downtime.
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
    left = workingSet * Self.share(ratio: dirtyRate / transferRate)
  }

  /// The largest `x` in 0…1 with `x = 1 − e^(−ρx)`, for `ρ > 1`.
  static func share(ratio: Double) -> Double {
    // From above, where the iteration is monotone; near ρ = 1 it is slow, and x is near 2(ρ − 1).
    var share = 1.0
    for _ in 0..<200 {
      let next = 1 - exp(-ratio * share)
      if abs(next - share) < 1e-9 { return next }
      share = next
    }
    return share
  }

  /// The ratio `ρ` of dirty rate to transfer rate whose plateau is `share` of the working set, 0 to 1: at least 1.
  public static func ratio(leaving share: Double) -> Double {
    guard share > 0 else { return 1 }
    guard share < 1 else { return .infinity }
    return -log(1 - share) / share
  }
}
