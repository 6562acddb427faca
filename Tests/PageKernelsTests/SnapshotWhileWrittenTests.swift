// SPDX-License-Identifier: Apache-2.0
import Glibc
import PageKernels
import Synchronization
import TestSupport
import Testing

/// One page, mapped twice: what is written through one mapping changes under whoever reads the other.
@safe private final class SharedPage: @unchecked Sendable {
  private let guest: UnsafeMutableRawPointer
  private let host: UnsafeMutableRawPointer

  init?(file: Int32) {
    let failed = unsafe UnsafeMutableRawPointer(bitPattern: -1)
    guard let guest = unsafe mmap(nil, pageByteCount, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0) else { return nil }
    guard let host = unsafe mmap(nil, pageByteCount, PROT_READ, MAP_SHARED, file, 0) else { return nil }
    guard unsafe guest != failed, unsafe host != failed else { return nil }
    unsafe self.guest = guest
    unsafe self.host = host
  }

  deinit {
    unsafe munmap(guest, pageByteCount)
    unsafe munmap(host, pageByteCount)
  }

  func write(_ value: UInt8, at offset: Int) {
    unsafe guest.storeBytes(of: value, toByteOffset: offset, as: UInt8.self)
  }

  func withSpan<Result>(_ body: (RawSpan) -> Result) -> Result {
    body(unsafe RawSpan(_unsafeStart: host, byteCount: pageByteCount))
  }
}

@Suite("Snapshots of memory that the guest writes to")
struct SnapshotWhileWrittenTests {
  @Test("A page is reported zero only if zeros were copied", arguments: KernelTier.available, [0, 63, 64, 2100, 4095])
  func reportIsTrueOfTheCopy(tier: KernelTier, offset: Int) throws {
    let directory = TemporaryDirectory()
    let path = try directory.write([UInt8](repeating: 0, count: pageByteCount), to: "page")
    let file = unsafe open(path, O_RDWR)
    try #require(file >= 0)
    defer { close(file) }
    let page = try #require(SharedPage(file: file), "mmap failed")
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
