// SPDX-License-Identifier: Apache-2.0

/// What a captured stream holds, for people and programs. Numbers are bytes, pages or pieces; `docs/QEMU.md` has the fields.
public struct StreamSummary: Codable, Sendable, Equatable {
  public static let schemaVersion = 1

  public var schema = StreamSummary.schemaVersion
  /// Of the stream, as far as it was read.
  public var byteCount: UInt64 = 0
  public var machine: String?
  public var capabilities: [String] = []
  /// The guest's, as hexadecimal digits, if the stream says it.
  public var uuid: String?
  /// The configuration's subsections, in order.
  public var subsections: [String] = []
  public var pageByteCount = 4096
  /// Whether sections have footers; nil if no section has ended.
  public var footers: Bool?
  /// In order.
  public var commands: [Command] = []
  public var ramSection: UInt32?
  /// Whether the RAM section has ended.
  public var ramComplete = false
  public var blocks: [Block] = []
  /// Pieces of the RAM section: `start`, `part`, `end`.
  public var sections: [String: UInt64] = [:]
  /// Records by QEMU's name for them: `PAGE`, `ZERO`, `XBZRLE`, `COMPRESS_PAGE`, `MEM_SIZE`, `EOS`, `MULTIFD_FLUSH`.
  public var records: [String: UInt64] = [:]
  /// Bytes of elements by kind; all of them together are ``byteCount``.
  public var bytes: [String: UInt64] = [:]
  /// Times that the pages went by from the front to the back; not known of a stream with compressed pages, which come in
  /// another order.
  public var passes: [Pass] = []
  /// Page records of pages that had been named before.
  public var pagesSentAgain: UInt64 = 0
  public var opaque: Opaque?
  /// The multifd channels that were given, in the order of their numbers.
  public var multifd: [Channel] = []
  /// What was wrong, in a sentence; nil if nothing was.
  public var error: String?

  public init() {}

  public struct Command: Codable, Sendable, Equatable {
    public var offset: UInt64
    public var name: String
    /// A number that goes with it: of `PING`, or the bytes of `PACKAGED`.
    public var value: UInt64?
  }

  public struct Block: Codable, Sendable, Equatable {
    public var name: String
    public var byteCount: UInt64
    public var hostPageByteCount: UInt64?
    public var guestPhysicalAddress: UInt64?
    /// Pages that no record has named.
    public var pagesNeverNamed: UInt64
  }

  public struct Pass: Codable, Sendable, Equatable {
    /// Where its first page record begins.
    public var offset: UInt64
    /// Page records, and of those, the ones of zero pages.
    public var pages: UInt64 = 0
    public var zeroPages: UInt64 = 0
    /// Bytes of these records.
    public var bytes: UInt64 = 0
  }

  public struct Opaque: Codable, Sendable, Equatable {
    public var offset: UInt64
    public var byteCount: UInt64
    public var cause: String
  }

  public struct Channel: Codable, Sendable, Equatable {
    public var channel: UInt8 = 0
    public var byteCount: UInt64 = 0
    public var packets: UInt64 = 0
    public var pages: UInt64 = 0
    public var zeroPages: UInt64 = 0
    /// Packets that say SYNC.
    public var barriers: UInt64 = 0
    public var opaque: Opaque?
  }
}

extension PageRecord.Encoding {
  /// QEMU's name for it.
  public var name: String {
    switch self {
    case .zero: "ZERO"
    case .plain: "PAGE"
    case .xbzrle: "XBZRLE"
    case .compressed: "COMPRESS_PAGE"
    }
  }
}
