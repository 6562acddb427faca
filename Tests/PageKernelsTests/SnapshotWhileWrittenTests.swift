// SPDX-License-Identifier: Apache-2.0
import PageKernels
import Synchronization
import TestSupport
import Testing

@Suite("Snapshots of memory that the guest writes to")
struct SnapshotWhileWrittenTests {
  @Test("A page is reported zero only if zeros were copied", arguments: KernelTier.available, [0, 63, 64, 2100, 4095])
  func reportIsTrueOfTheCopy(tier: KernelTier, offset: Int) {
    let page = SharedPage()
    let stopping = Atomic<Bool>(false)
    let counts = Mutex((zero: 0, copied: 0, empty: 0))
    Threads.run(2) { thread in
      if thread == 0 {
        var value: UInt8 = 0
        while !stopping.load(ordering: .relaxed) {
          value ^= 1
          page.write(value, at: offset)
        }
      } else {
        var staging = [UInt8](repeating: 0, count: pageByteCount)
        for _ in 0..<5000 {
          let result = page.withSpan { span in
            withMutableSpan(&staging, 0..<pageByteCount) { Snapshot.take(span: span, wanted: 1, into: &$0, tier: tier) }
          }
          counts.withLock { counts in
            if result.zeroMask == 1 { counts.zero += 1 } else { counts.copied += 1 }
            if result.copiedPageCount == 1, staging[offset] == 0 { counts.empty += 1 }
          }
        }
        stopping.store(true, ordering: .relaxed)
      }
    }
    let seen = counts.withLock { $0 }
    #expect(seen.empty == 0, "\(tier): \(seen.empty) copies of zeros sent as data, of \(seen.copied)")
    #expect(seen.zero + seen.copied == 5000)
  }
}
