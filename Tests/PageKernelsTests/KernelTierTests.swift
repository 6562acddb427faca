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
}
