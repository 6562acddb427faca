// SPDX-License-Identifier: Apache-2.0
import Glibc

/// What a guest that writes all over its working set has dirtied after a while.
public enum DirtyWindow {
  /// `W(1 − e^(−rt/W))`: bytes, of `rate` bytes a second over `workingSet` bytes.
  public static func bytes(rate: Double, workingSet: Double, seconds: Double) -> Double {
    guard workingSet > 0 else { return 0 }
    return workingSet * (1 - exp(-rate * seconds / workingSet))
  }
}
