// SPDX-License-Identifier: Apache-2.0
import PageKernels
import Testing

@Suite("Kernel tiers")
struct KernelTierTests {
  @Test("The scalar tier is always available, and the best tier is")
  func available() {
    #expect(KernelTier.available.first == .scalar)
    #expect(KernelTier.available.contains(.best))
  }

  @Test("The baseline of the architecture is used")
  func baseline() {
    #if arch(x86_64)
      #expect(KernelTier.available.contains(.sse2) && !KernelTier.available.contains(.neon))
    #elseif arch(arm64)
      #expect(KernelTier.available == [.scalar, .neon])
    #endif
    #expect(KernelTier.best != .scalar)
  }

  // Every test of the kernels runs with the tiers that this CPU has. For those that it lacks, the two below are
  // skipped, by name, so that nobody takes their kernels for tested.
  #if arch(x86_64)
    @Test(
      "This CPU has AVX2",
      .enabled(if: KernelTier.available.contains(.avx2), "no AVX2 here: THE AVX2 KERNELS ARE NOT TESTED"))
    func hasAVX2() { #expect(KernelTier.best.rawValue >= KernelTier.avx2.rawValue) }

    @Test(
      "This CPU has AVX-512",
      .enabled(if: KernelTier.available.contains(.avx512), "no AVX-512 here: THE AVX-512 KERNELS ARE NOT TESTED"))
    func hasAVX512() { #expect(KernelTier.best == .avx512) }
  #endif
}
