// SPDX-License-Identifier: Apache-2.0

@testable import QEMUBridge

/// What the bytes of a multifd channel mean, read the obvious way: the reference of ``ChannelDriver``.
struct ChannelModel {
  /// A page, by block and number.
  struct Place: Hashable {
    let block: Int
    let page: Int
  }

  private static let headByteCount = 1344

  /// The newest content of each page that was named; nil: zeros.
  private(set) var pages: [Place: [UInt8]?] = [:]
  /// Pages that once had bytes.
  private(set) var filled: Set<Place> = []
  /// Pages of packets, as often as they came; and of packets that were right to their end, of them zero pages.
  private(set) var storeCount = 0
  private(set) var countedPages = 0
  private(set) var countedZeroPages = 0
  /// Heads of the packets that say SYNC, in order.
  private(set) var barriers: [[UInt8]] = []
  /// Bytes of the opening and of packets that were right.
  private(set) var doneByteCount = 0
  /// Whether the channel ends where it may.
  private(set) var isWhole = false

  init(_ bytes: [UInt8], blocks: [StreamBlock]) {
    guard bytes.count >= 64, Self.isFramed(bytes, 0) else { return }
    doneByteCount = 64
    while doneByteCount < bytes.count {
      guard let byteCount = packet(bytes, doneByteCount, blocks) else { return }
      doneByteCount += byteCount
    }
    isWhole = true
  }

  /// - Returns: bytes of the packet; nil if it is wrong.
  private mutating func packet(_ bytes: [UInt8], _ at: Int, _ blocks: [StreamBlock]) -> Int? {
    guard bytes.count - at >= Self.headByteCount, Self.isFramed(bytes, at) else { return nil }
    let (flags, allocated) = (Self.word(bytes, at + 8), Self.word(bytes, at + 12))
    let (normal, zero) = (Self.word(bytes, at + 16), Self.word(bytes, at + 32))
    guard flags <= 1, allocated <= 128, normal + zero <= allocated else { return nil }
    guard normal == 0 || Self.word(bytes, at + 20) == normal * 4096 else { return nil }
    let byteCount = Self.headByteCount + normal * 4096
    guard bytes.count - at >= byteCount else { return nil }
    if normal + zero > 0 {
      let name = bytes[at + 64..<at + 320].prefix { $0 != 0 }
      guard name.count < 256, let block = blocks.firstIndex(where: { $0.nameBytes[...] == name }) else { return nil }
      for index in 0..<normal + zero {
        let offset = Self.word(bytes, at + 320 + 8 * index) << 32 | Self.word(bytes, at + 324 + 8 * index)
        guard offset >= 0, offset % 4096 == 0, offset < Int(blocks[block].byteCount) else { return nil }
        let place = Place(block: block, page: offset / 4096)
        let first = at + Self.headByteCount + index * 4096
        pages[place] = .some(index < normal ? Array(bytes[first..<first + 4096]) : nil)
        if index < normal { filled.insert(place) }
        storeCount += 1
      }
      countedPages += normal + zero
      countedZeroPages += zero
    }
    if flags == 1 { barriers.append(Array(bytes[at..<at + Self.headByteCount])) }
    return byteCount
  }

  private static func isFramed(_ bytes: [UInt8], _ at: Int) -> Bool {
    word(bytes, at) == 0x1122_3344 && word(bytes, at + 4) == 1
  }

  private static func word(_ bytes: [UInt8], _ at: Int) -> Int {
    bytes[at..<at + 4].reduce(0) { $0 << 8 | Int($1) }
  }
}
