// SPDX-License-Identifier: Apache-2.0

/// What a multifd channel's first bytes say of the rest, while they are still in the socket: whether its pages can be taken
/// apart. A channel begins with its opening and an empty packet that says SYNC, which belongs to the barrier behind the list
/// of RAM blocks; the packet after that has pages, and says how they are packed.
enum MultifdGlance: Sendable, Equatable {
  /// The first barrier's packet has not come yet.
  case coming
  /// No packet of pages has come yet.
  case idle
  /// Pages come as they are.
  case plain
  /// Something else, in words.
  case opaque(String)

  /// The opening and the first barrier's packet, for pages of 4096 bytes.
  static let headByteCount = 64 + packetByteCount
  /// What is looked at: and the head of the next packet, as far as its counts.
  static let byteCount = headByteCount + 36
  private static let packetByteCount = MultifdPacket.headByteCount(pageByteCount: 4096)

  /// - Parameter bytes: of a connection, from its first on, as far as they have come; they may be anything.
  init(_ bytes: ArraySlice<UInt8>) {
    func word(_ at: Int) -> UInt32 {
      bytes.dropFirst(at).prefix(4).reduce(0) { $0 << 8 | UInt32($1) }
    }
    func why(_ at: Int) -> String? {
      if word(at) != 0x1122_3344 { return "what is no multifd packet" }
      if word(at + 4) != 1 { return "multifd in version \(word(at + 4))" }
      return nil
    }
    self = .coming
    guard bytes.count >= 8 else { return }
    if let reason = why(0) {
      self = .opaque(reason)
      return
    }
    guard bytes.count >= Self.headByteCount else { return }
    if let reason = why(64) ?? (word(72) & ~1 == 0 ? nil : "\(OpaqueCause.multifd(flags: word(72)))") {
      self = .opaque(reason)
      return
    }
    // Normal and zero pages.
    guard word(72) == 1, word(80) == 0, word(96) == 0 else {
      self = .opaque("a multifd channel that does not begin with a barrier")
      return
    }
    self = .idle
    guard bytes.count >= Self.byteCount else { return }
    let next = Self.headByteCount
    if let reason = why(next) ?? (word(next + 8) & ~1 == 0 ? nil : "\(OpaqueCause.multifd(flags: word(next + 8)))") {
      self = .opaque(reason)
    } else if word(next + 16) > 0 || word(next + 32) > 0 {
      self = .plain
    }
  }
}
