// SPDX-License-Identifier: Apache-2.0

/// A named contiguous range of guest memory. Between blocks there are holes (the PCI hole below 4 GiB).
public struct RAMBlock: Sendable, Equatable, Codable {
  /// Unique within its guest, 1 to 255 bytes of UTF-8 (QEMU's `pc.ram`, say).
  public let name: String
  /// Guest-physical address of the first byte; a multiple of the page size.
  public let guestPhysicalBase: UInt64
  /// A multiple of the page size, not zero.
  public let byteCount: UInt64
  /// Page size of the host memory behind it: 4 KiB, 2 MiB or 1 GiB.
  public let hostPageByteCount: UInt32

  /// A block as declared; ``BlockTable`` checks it.
  public init(name: String, guestPhysicalBase: UInt64, byteCount: UInt64, hostPageByteCount: UInt32 = 4096) {
    self.name = name
    self.guestPhysicalBase = guestPhysicalBase
    self.byteCount = byteCount
    self.hostPageByteCount = hostPageByteCount
  }

  /// Pages in the block.
  public var pageCount: Int { Int(byteCount) / PageGeometry.pageByteCount }

  /// Spans in the block, the last of which may be partial.
  public var spanCount: Int { (pageCount + PageGeometry.pagesPerSpan - 1) / PageGeometry.pagesPerSpan }

  /// The pages that span `index` has: all 64, or fewer in the block's last span.
  public func pages(ofSpan index: Int) -> PageMask {
    .lowest(pageCount - index * PageGeometry.pagesPerSpan)
  }
}
