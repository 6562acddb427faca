// SPDX-License-Identifier: Apache-2.0
import CPageKernels

/// An instruction set that the page kernels are compiled for.
public enum KernelTier: UInt32, CaseIterable, Sendable, CustomStringConvertible {
  case scalar = 0
  case sse2 = 1
  case avx2 = 2
  case avx512 = 3
  case neon = 4

  /// The widest tier that this CPU runs; what the engine uses unless a caller names another.
  public static let best = KernelTier(pk_best_tier())

  /// The tiers that this CPU runs, scalar first.
  public static let available = allCases.filter { pk_tier_available($0.raw) }

  public var description: String {
    switch self {
    case .scalar: "scalar"
    case .sse2: "SSE2"
    case .avx2: "AVX2"
    case .avx512: "AVX-512"
    case .neon: "NEON"
    }
  }

  var raw: pk_tier { pk_tier(rawValue: rawValue) }

  private init(_ raw: pk_tier) { self = KernelTier(rawValue: raw.rawValue) ?? .scalar }
}
