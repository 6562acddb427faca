// SPDX-License-Identifier: Apache-2.0

/// Whether sockets send memory that stays as it is without the kernel's copy.
public struct ZeroCopyOptions: Sendable, Equatable {
  public enum Mode: String, Sendable, CaseIterable {
    /// Where the peer is on another host, and a trial on the running channel says that it is cheaper.
    case automatic = "auto"
    case on, off
  }

  public var mode: Mode
  /// Bytes that a trial sends with the copy, and as many without.
  public var trialByteCount: Int
  /// Whether a peer on this host is worth a trial. Linux copies there in any case: it is not.
  public var triesLocalPeers: Bool

  public init(_ mode: Mode, trialByteCount: Int = 32 << 20, triesLocalPeers: Bool = false) {
    self.mode = mode
    self.trialByteCount = trialByteCount
    self.triesLocalPeers = triesLocalPeers
  }
}

/// What came of sending without a copy.
public struct ZeroCopyUse: Sendable, Codable, Equatable {
  public enum Outcome: String, Sendable, Codable {
    /// Not tried.
    case off
    /// The trial was not over when the migration was.
    case undecided
    /// In use to the end.
    case kept
    /// The trial saved less than a tenth of the CPU time.
    case notCheaper = "not cheaper"
    case copiedByKernel = "copied by the kernel"
    /// The socket cannot do it, or what may be pinned is less than one send.
    case refused
  }

  /// Sends without a copy, and those of them that the kernel told were copied after all.
  public var sends: UInt64 = 0
  public var copiedAnyway: UInt64 = 0
  /// Bytes of those sends, copied after all or not.
  public var bytes: UInt64 = 0
  /// Sends that were made with a copy, because too much was under way without (RLIMIT_MEMLOCK, optmem_max).
  public var fallbacks: UInt64 = 0
  public var outcome = Outcome.off

  public init() {}

  /// Adds what came of it on another connection. Of the outcomes the one that says more stays.
  public mutating func add(_ other: ZeroCopyUse) {
    sends += other.sends
    copiedAnyway += other.copiedAnyway
    bytes += other.bytes
    fallbacks += other.fallbacks
    let order: [Outcome] = [.kept, .copiedByKernel, .notCheaper, .undecided, .refused, .off]
    outcome = order.first { $0 == outcome || $0 == other.outcome } ?? outcome
  }
}
