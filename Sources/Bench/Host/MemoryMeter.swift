// SPDX-License-Identifier: Apache-2.0
import Glibc
import GuestMemory
import HostSystem
import PageKernels
import PageModel
import Synchronization

/// Measures a host's memory.
struct MemoryMeter {
  /// Bytes that are read or copied; beyond the caches of most hosts.
  private let byteCount: Int
  private let threadCount: Int
  /// Rounds of each, of which the median counts.
  private static let rounds = 3

  /// - Parameter budget: bytes that may be used.
  init(budget: UInt64, threadCount: Int) {
    let stripe = PageGeometry.stripeByteCount
    byteCount = max(stripe, Int(min(budget / 2, 192 << 20)) / stripe * stripe)
    self.threadCount = max(1, min(64, threadCount, byteCount / stripe))
  }

  /// All but the codecs; zeros where there is no memory to be had.
  func measure() -> HostFigures {
    var figures = HostFigures.none
    figures.touchSmall = touch(hugePages: false)
    figures.touchHuge = touch(hugePages: true)
    guard let first = MeterRegion(byteCount), let second = MeterRegion(byteCount) else { return figures }
    first.fill()
    second.fill()
    figures.readOne = rate(threads: 1) { first.read($0) }
    figures.readAll = rate(threads: threadCount) { first.read($0) }
    figures.copyOne = rate(threads: 1) { second.copy($0, from: first) }
    figures.copyAll = rate(threads: threadCount) { second.copy($0, from: first) }
    second.zero()
    figures.zeroScan = rate(threads: 1) { second.scan($0) }
    return figures
  }

  private func touch(hugePages: Bool) -> Double {
    median { () -> Double? in
      guard let region = MeterRegion(min(byteCount, 64 << 20)) else { return nil }
      region.advise(hugePages: hugePages)
      let started = HostClock.now()
      region.touch()
      return Double(region.byteCount) * 1e9 / Double(max(1, HostClock.now() - started))
    }
  }

  /// Bytes a second of `body`, which every thread calls with its part.
  private func rate(threads: Int, _ body: @escaping @Sendable (Range<Int>) -> Void) -> Double {
    let part = byteCount / threads / PageGeometry.spanByteCount * PageGeometry.spanByteCount
    return median {
      let started = HostClock.now()
      let others = (1..<threads).map { index in
        HostThread(name: "bench-memory-\(index)") { body(index * part..<(index + 1) * part) }
      }
      body(0..<part)
      for other in others { other.join() }
      return Double(part * threads) * 1e9 / Double(max(1, HostClock.now() - started))
    }
  }

  private func median(_ measure: () -> Double?) -> Double {
    let values = (0..<Self.rounds).compactMap { _ in measure() }.sorted()
    return values.isEmpty ? 0 : values[values.count / 2]
  }
}

/// Memory that is measured. Threads keep to parts of their own.
@safe private final class MeterRegion: @unchecked Sendable {
  private let base: UnsafeMutableRawPointer
  let byteCount: Int

  init?(_ byteCount: Int) {
    guard let mapped = unsafe mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
      unsafe mapped != MAP_FAILED
    else { return nil }
    unsafe base = mapped
    self.byteCount = byteCount
  }

  deinit { _ = unsafe munmap(base, byteCount) }

  func advise(hugePages: Bool) {
    _ = unsafe madvise(base, byteCount, hugePages ? CInt(MADV_HUGEPAGE) : CInt(MADV_NOHUGEPAGE))
  }

  /// Writes one byte of every page.
  func touch() {
    for offset in stride(from: 0, to: byteCount, by: PageGeometry.pageByteCount) {
      // SAFETY: the offset lies in the region.
      unsafe base.storeBytes(of: 1, toByteOffset: offset, as: UInt8.self)
    }
  }

  func fill() {
    advise(hugePages: true)
    _ = unsafe memset(base, 0x5a, byteCount)
  }

  func zero() { _ = unsafe memset(base, 0, byteCount) }

  /// Reads every byte: a search for one that is not there.
  func read(_ range: Range<Int>) {
    let found = unsafe memchr(base + range.lowerBound, 0xa5, range.count)
    unsafe precondition(found == nil, "the byte is not there")
  }

  func copy(_ range: Range<Int>, from other: MeterRegion) {
    _ = unsafe memcpy(base + range.lowerBound, other.base + range.lowerBound, range.count)
  }

  func scan(_ range: Range<Int>) {
    for offset in stride(from: range.lowerBound, to: range.upperBound, by: PageGeometry.spanByteCount) {
      // SAFETY: whole spans of the region.
      let span = unsafe RawSpan(_unsafeStart: base + offset, byteCount: PageGeometry.spanByteCount)
      let mask = ZeroScan.mask(span: span, wanted: .max)
      precondition(mask == .max, "all of it is zero")
    }
  }
}
