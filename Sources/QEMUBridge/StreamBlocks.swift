// SPDX-License-Identifier: Apache-2.0

/// What a stream says about its machine.
public struct StreamConfiguration: Sendable, Equatable {
  /// `pc-i440fx-7.2`, say.
  public var machine = ""
  /// Capabilities that change the stream: only `x-ignore-shared` and `mapped-ram` are ever named.
  public var capabilities: [String] = []
  public var uuid: [UInt8]?
  /// Bits of the target's page size, where the stream says it.
  public var pageBits: UInt32?
  /// The subsections' names, in order.
  public var subsections: [String] = []

  public init() {}
}

/// A RAM block as the stream declares it.
public struct StreamBlock: Sendable, Equatable {
  /// As on the wire: 1 to 255 bytes.
  public let nameBytes: [UInt8]
  /// Bytes in use; a multiple of the page size, not zero.
  public let byteCount: UInt64
  /// Page size of the memory behind it, where the stream says it (postcopy with huge pages).
  public let hostPageByteCount: UInt64?
  /// Where the guest sees it, where the stream says it (`x-ignore-shared`).
  public let guestPhysicalAddress: UInt64?

  public init(
    nameBytes: [UInt8], byteCount: UInt64, hostPageByteCount: UInt64? = nil, guestPhysicalAddress: UInt64? = nil
  ) {
    self.nameBytes = nameBytes
    self.byteCount = byteCount
    self.hostPageByteCount = hostPageByteCount
    self.guestPhysicalAddress = guestPhysicalAddress
  }

  /// For people.
  public var name: String { String(decoding: nameBytes, as: UTF8.self) }
}

/// Bounds on what a stream may declare, checked before anything is allocated for it.
public enum StreamLimits {
  /// Longest machine name; QEMU's own names have some ten bytes.
  public static let machineByteCountMax = 4096
  public static let capabilityCountMax = 256
  public static let subsectionCountMax = 64
  public static let blockCountMax = 1024
  /// Most RAM that all blocks together may have: 64 TiB.
  public static let totalByteCountMax: UInt64 = 1 << 46
  /// Sizes of a page, as powers of two.
  public static let pageBits: ClosedRange<UInt32> = 10...16
  /// Pages in a multifd packet take that many bytes at most.
  public static let multifdByteCountMax = 512 << 10

  /// Longest zlib stream of a page: zlib's own bound.
  public static func compressedByteCountMax(page: Int) -> Int { page + page >> 12 + page >> 14 + page >> 25 + 13 }

  /// No element is longer: the list of blocks is the largest, each with name, length, page size and address.
  static let elementByteCountMax = 8 + blockCountMax * (1 + 255 + 3 * 8) + 8
}
