// SPDX-License-Identifier: Apache-2.0
import HostSystem
import PageModel
import Synchronization

/// Touches as much memory as is needed next, and gives it back.
///
/// A virtual host may get memory that it has not used lately from its own host first, ten times slower than the kernel
/// hands it out later. That would be charged to whatever migration happens to come first.
enum WarmMemory {
  private static let chunkByteCount = 16 << 20
  private static let threadsMax = 8

  private final class Region: @unchecked Sendable {
    // SAFETY: threads touch chunks of their own, which they draw from `next`.
    let buffer: PageBuffer
    let next = Atomic<Int>(0)

    init?(_ byteCount: Int) {
      guard let made = try? PageBuffer(byteCount: byteCount, hugePages: true) else { return nil }
      buffer = made
    }

    func touch() {
      while true {
        let start = next.add(WarmMemory.chunkByteCount, ordering: .relaxed).oldValue
        guard start < buffer.byteCount else { return }
        for offset in stride(
          from: start, to: min(buffer.byteCount, start + WarmMemory.chunkByteCount), by: PageGeometry.pageByteCount)
        {
          // SAFETY: the offset lies in the buffer.
          unsafe buffer.unsafeBase.storeBytes(of: 1, toByteOffset: offset, as: UInt8.self)
        }
      }
    }
  }

  /// Does nothing if the host has not as much to give.
  static func touch(byteCount: UInt64) {
    guard byteCount > 0, byteCount < HostMemory.availableByteCount ?? .max, let count = Int(exactly: byteCount),
      let region = Region(count)
    else { return }
    let threads = min(threadsMax, HostThread.allowedCPUs().count, count / chunkByteCount + 1)
    let others = (1..<max(1, threads)).map { index in HostThread(name: "bench-warm-\(index)") { region.touch() } }
    region.touch()
    for other in others { other.join() }
  }
}
