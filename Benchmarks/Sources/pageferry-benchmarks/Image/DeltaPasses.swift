// SPDX-License-Identifier: Apache-2.0
import PageKernels
import PageModel

/// The ways from a changed page to its delta and a cache that is up to date.
final class DeltaPasses: Sendable {
  private let changed: ChangedPages
  /// The pages that were sent last; a pass turns them into those of the guest.
  private let cached: Region
  /// Where deltas go: few enough buffers to stay in the cache.
  private let ring: Region
  private let staging: Region

  private static let ringCount = 8
  private static let slotByteCount = DeltaPairs.capacity + Delta.scratchByteCount

  init(_ changed: ChangedPages) throws {
    self.changed = changed
    cached = try Region(pageCount: changed.count, .huge)
    ring = try Region(byteCount: Self.ringCount * Self.slotByteCount, .small)
    staging = try Region(pageCount: 1, .small)
  }

  /// Copies that would hold still, a comparison, a copy into the cache: what an encoder needs that is nothing else.
  func separate(_ label: String, expected: UInt64?, _ encode: @escaping Encode) -> Pass {
    pass("copies + " + label, expected) { [staging] cached, page, delta in
      staging.write(0.bytesOfPage) { copy in
        copy.copyBytes(of: page)
        let result = encode(cached.bytes, copy.bytes, &delta)
        if result != .unchanged { cached.copyBytes(of: copy.bytes) }
        return result
      }
    }
  }

  func separate(_ tier: KernelTier, expected: UInt64?) -> Pass {
    separate(tier.label, expected: expected) {
      Delta.encode(from: $0, to: $1, into: &$2, capacity: DeltaPairs.capacity, tier: tier)
    }
  }

  func separate(_ encoder: Peer.Encoder) -> Pass {
    // Its lengths were checked one by one, and where it gives up they may differ.
    separate(Peer.label, expected: nil) { encoder(from: $0, to: $1, into: &$2, capacity: DeltaPairs.capacity) }
  }

  func fused(_ tier: KernelTier, expected: UInt64) -> Pass {
    pass("fused " + tier.label, expected) { cached, page, delta in
      Delta.update(cached: &cached, to: page, into: &delta, capacity: DeltaPairs.capacity, tier: tier)
    }
  }

  /// Whether the cache holds the guest's pages.
  var isUpToDate: Bool {
    References.equalPages(cached, changed.page, 0..<changed.count) == UInt64(changed.count)
  }

  typealias Encode = @Sendable (_ base: RawSpan, _ page: RawSpan, _ delta: inout MutableRawSpan) -> Delta.Result

  private func pass(
    _ label: String, _ expected: UInt64?,
    _ update:
      @escaping @Sendable (
        _ cached: inout MutableRawSpan, _ page: RawSpan, _ delta: inout MutableRawSpan
      ) -> Delta.Result
  ) -> Pass {
    Pass(label: label, expected: expected, prepare: { [self] in restore() }) { [self] pages, _ in
      var sum: UInt64 = 0
      for number in pages {
        let slot = number % Self.ringCount * Self.slotByteCount
        changed.page.read(number.bytesOfPage) { page in
          cached.write(number.bytesOfPage) { cached in
            ring.write(slot..<slot + Self.slotByteCount) { delta in sum &+= update(&cached, page, &delta).length }
          }
        }
      }
      return sum
    }
  }

  private func restore() {
    let pages = 0..<changed.count
    _ = References.copyPages(changed.base, cached, pages)
    for region in [changed.base, changed.page, cached] { References.evict(region, pages.bytesOfPages) }
  }
}
