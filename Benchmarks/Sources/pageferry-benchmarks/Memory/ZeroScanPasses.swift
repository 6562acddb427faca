// SPDX-License-Identifier: Apache-2.0
import PageKernels
import PageModel

/// Zero scans of a region, as the engine makes them (span by span) and as others do.
extension Pass {
  static func zeroScan(_ region: Region, _ tier: KernelTier, expected: UInt64) -> Pass {
    Pass(label: tier.label, expected: expected) { pages, _ in
      var zero: UInt64 = 0
      for span in spans(of: pages) {
        let mask = region.read(span.bytesOfPages) {
          ZeroScan.mask(span: $0, wanted: .lowest(span.count), tier: tier)
        }
        zero &+= UInt64(mask.nonzeroBitCount)
      }
      return zero
    }
  }

  /// A peer is asked page by page.
  static func zeroScan(_ region: Region, _ isZero: Peer.ZeroCheck, expected: UInt64) -> Pass {
    Pass(label: Peer.label, expected: expected) { pages, _ in
      var zero: UInt64 = 0
      for number in pages where region.read(number.bytesOfPage, { isZero($0) }) { zero &+= 1 }
      return zero
    }
  }

  static func zeroScanByMemcmp(_ region: Region, expected: UInt64) -> Pass {
    Pass(label: "memcmp, shifted", expected: expected) { pages, _ in References.zeroPages(region, pages) }
  }
}
