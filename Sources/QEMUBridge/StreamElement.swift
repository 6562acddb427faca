// SPDX-License-Identifier: Apache-2.0

/// One element of a migration stream. A plain value: what it refers to is in the reader, until the next element.
public struct StreamElement: BitwiseCopyable, Sendable {
  /// Where it begins, in bytes from the stream's first.
  public let offset: UInt64
  /// Its bytes. Elements follow each other without a gap: together they are the stream.
  public let byteCount: Int
  public let kind: Kind

  public enum Kind: BitwiseCopyable, Sendable, Equatable {
    /// Magic and version.
    case header
    /// Machine and subsections: ``StreamReader/configuration`` has them.
    case configuration
    case command(StreamCommand)
    /// A part of the stream that ``StreamCommand/packaged(byteCount:)`` has announced; `left` bytes of it are to come.
    case packaged(left: Int)
    /// The RAM section goes on: its records follow, and ``endOfRecords``.
    case section(SectionKind, id: UInt32)
    /// The list of RAM blocks: ``StreamReader/blocks`` has it.
    case blockList
    case page(PageRecord)
    /// A barrier of the multifd channels (QEMU 8.1 and later).
    case multifdFlush
    case endOfRecords
    case footer(id: UInt32)
    /// End of the machine's state; a description of it may follow, as opaque bytes.
    case endOfState
    /// A part of what cannot be parsed, from there to the end: ``StreamReader/opaqueCause`` says why.
    case opaque
  }
}

/// Which piece of an iterable section comes.
public enum SectionKind: UInt8, BitwiseCopyable, Sendable, CaseIterable {
  /// The list of blocks.
  case start = 1
  /// Pages, while the guest runs.
  case part = 2
  /// The last pages.
  case end = 3
}

/// A page, as the stream has it.
public struct PageRecord: BitwiseCopyable, Sendable, Equatable {
  /// How the page is told.
  public enum Encoding: UInt8, BitwiseCopyable, Sendable, CaseIterable {
    /// Every byte is ``PageRecord/fill``.
    case zero
    /// The page's bytes.
    case plain
    /// An XBZRLE delta onto what the destination has.
    case xbzrle
    /// A zlib stream (`compress`, until QEMU 9.0).
    case compressed
  }

  public let encoding: Encoding
  /// Of ``Encoding/zero``: what the page's bytes are, 0 but for very old sources. Otherwise 0.
  public let fill: UInt8
  /// Whether the record leaves its block's name out, because it is that of the record before.
  public let isContinued: Bool
  /// The block's place in ``StreamReader/blocks``.
  public let block: Int
  /// Of the page's first byte in its block; the page is inside it.
  public let offset: UInt64
  /// Where the payload begins among the element's bytes, and its length.
  let head: Int
  let payloadByteCount: Int

  /// The page, delta or zlib stream among the element's bytes; empty for ``Encoding/zero``.
  public var payload: Range<Int> { head..<head + payloadByteCount }
}

/// A command, which may stand at any boundary between sections.
public enum StreamCommand: BitwiseCopyable, Sendable, Equatable {
  case openReturnPath
  case ping(UInt32)
  /// Page sizes are nil for postcopy of dirty bitmaps only.
  case postcopyAdvise(PageSizes?)
  case postcopyListen
  case postcopyRun
  case postcopyDiscard
  /// That many bytes of an embedded stream follow.
  case packaged(byteCount: Int)
  case enableCOLO
  case postcopyResume
  case receiveBitmap
  case switchoverStart

  /// What `POSTCOPY_ADVISE` says.
  public struct PageSizes: BitwiseCopyable, Sendable, Equatable {
    /// The page sizes of all blocks, or-ed.
    public let summary: UInt64
    public let target: UInt64
  }

  /// QEMU's name for it.
  public var name: String {
    switch self {
    case .openReturnPath: "OPEN_RETURN_PATH"
    case .ping: "PING"
    case .postcopyAdvise: "POSTCOPY_ADVISE"
    case .postcopyListen: "POSTCOPY_LISTEN"
    case .postcopyRun: "POSTCOPY_RUN"
    case .postcopyDiscard: "POSTCOPY_RAM_DISCARD"
    case .packaged: "PACKAGED"
    case .enableCOLO: "ENABLE_COLO"
    case .postcopyResume: "POSTCOPY_RESUME"
    case .receiveBitmap: "RECV_BITMAP"
    case .switchoverStart: "SWITCHOVER_START"
    }
  }
}

/// Why a stream cannot be parsed on; nothing is wrong with it.
public enum OpaqueCause: Sendable, Equatable, CustomStringConvertible {
  /// A device's state, which has no length. Where every stream comes to.
  case device(String)
  /// A section that iterates and is not RAM, or RAM in another version.
  case section(String, version: UInt32)
  case unknownSection(id: UInt32)
  case unknownElement(UInt8)
  case unknownCommand(UInt16)
  case unknownSubsection(String)
  case unknownRecord(flags: UInt64)
  /// `mapped-ram`, a file's format.
  case capability(String)
  /// What follows the end of the machine's state.
  case afterState
  /// Of a multifd channel: pages are compressed, or are no pages.
  case multifd(flags: UInt32)

  public var description: String {
    switch self {
    case .device(let name): "state of device '\(Printable.text(name))', which has no length"
    case .section(let name, let version): "section '\(Printable.text(name))' of version \(version)"
    case .unknownSection(let id): "section \(id), which has not begun"
    case .unknownElement(let type): "an element of unknown type \(type)"
    case .unknownCommand(let number): "unknown command \(number)"
    case .unknownSubsection(let name): "unknown subsection '\(Printable.text(name))' of the configuration"
    case .unknownRecord(let flags): "a RAM record with flags 0x\(String(flags, radix: 16))"
    case .capability(let name): "capability '\(Printable.text(name))'"
    case .afterState: "what follows the end of the state"
    case .multifd(let flags): "packets with flags 0x\(String(flags, radix: 16)): compressed, or of a device"
    }
  }
}
