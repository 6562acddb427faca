// SPDX-License-Identifier: Apache-2.0
import PageKernels

/// Does the operation so many times and returns something that depends on every result, so that none is optimised out.
typealias Body = (_ times: Int) -> UInt64

/// One thing to measure, and the ways of doing it that are compared.
struct Case {
  /// `area/what`, unique; baselines and filters go by it.
  let name: String
  /// Bytes that one operation covers, for GB/s; 0 where a byte rate says nothing.
  let byteCount: Int
  /// The first is what the others are compared with.
  let variants: [Variant]
}

/// One way of doing a case's operation.
struct Variant {
  /// The processor that a variant's instruction count is true for.
  enum Gate {
    /// Wall clock only: the count depends on a library that is not built here, or nobody would act on it.
    case none
    /// The same instructions whatever the instruction set.
    case anyTier
    /// This tier, given as an argument.
    case tier(KernelTier)
    /// Whatever tier the engine chooses, which must be AVX2: the widest that valgrind runs.
    case bestTier
  }

  let label: String
  let gate: Gate
  /// Whether this machine can run it.
  let isAvailable: Bool
  /// Makes the fixture; only what is run is made.
  let make: () throws -> Body

  private init(label: String, gate: Gate, isAvailable: Bool, make: @escaping () throws -> Body) {
    self.label = label
    self.gate = gate
    self.isAvailable = isAvailable
    self.make = make
  }

  /// A variant that is only timed.
  static func timed(_ label: String, _ make: @escaping () throws -> Body) -> Variant {
    Variant(label: label, gate: .none, isAvailable: true, make: make)
  }

  /// The engine's code that runs no kernel.
  static func gated(_ label: String, _ make: @escaping () throws -> Body) -> Variant {
    Variant(label: label, gate: .anyTier, isAvailable: true, make: make)
  }

  /// The engine's code that chooses the tier of its kernels itself.
  static func gatedAtBestTier(_ label: String, _ make: @escaping () throws -> Body) -> Variant {
    Variant(label: label, gate: .bestTier, isAvailable: true, make: make)
  }

  /// One variant per tier, scalar first; SSE2 and AVX2 are gated. Lists those too that this machine cannot run.
  static func tiers(_ make: @escaping (KernelTier) throws -> Body) -> [Variant] {
    KernelTier.allCases.map { tier in
      Variant(
        label: tier.label, gate: tier == .sse2 || tier == .avx2 ? .tier(tier) : .none,
        isAvailable: KernelTier.available.contains(tier), make: { try make(tier) })
    }
  }
}

/// A variant with a baseline.
struct GatedCase {
  let name: String
  let variant: Variant

  /// Whether this processor, which under valgrind is valgrind's, runs the instructions that the baseline counts.
  var isCountable: Bool {
    switch variant.gate {
    case .none: false
    case .anyTier: true
    case .tier: variant.isAvailable
    case .bestTier: KernelTier.best == .avx2
    }
  }

  /// Every gated case, in the order of the baseline.
  static func all() -> [GatedCase] {
    Case.all().flatMap { one in
      one.variants.compactMap { variant in
        switch variant.gate {
        case .none: nil
        case .anyTier, .bestTier: GatedCase(name: one.name, variant: variant)
        case .tier: GatedCase(name: "\(one.name):\(variant.label)", variant: variant)
        }
      }
    }
  }
}

extension Case {
  /// Every case, area by area. A new area adds its line here.
  /// - Parameter peer: kernels that join ours in the areas that they cover; they are only timed.
  static func all(peer: Peer? = nil) -> [Case] {
    zeroScan(peer) + snapshot + hash + delta(peer) + record + frame + spanMap + probe + codec
  }
}

extension KernelTier {
  /// As variants and baselines have it.
  var label: String { "\(self)".lowercased() }
}
