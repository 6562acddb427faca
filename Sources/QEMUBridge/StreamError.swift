// SPDX-License-Identifier: Apache-2.0
public import SystemPackage

/// Why a stream could not be read on. Offsets are in bytes from the stream's first.
public enum StreamError: Error, Equatable, Sendable, CustomStringConvertible {
  /// It ended at `offset`, in the middle of something.
  case truncated(offset: UInt64, inside: StreamPart)
  /// What begins at `offset` cannot be.
  case malformed(offset: UInt64, StreamFault)
  /// The source failed after `offset` bytes.
  case unreadable(offset: UInt64, Errno)

  /// Where it is.
  public var offset: UInt64 {
    switch self {
    case .truncated(let offset, _), .malformed(let offset, _), .unreadable(let offset, _): offset
    }
  }

  public var description: String {
    switch self {
    case .truncated(let offset, let part): "the stream ends at byte \(offset), \(part.place)"
    case .malformed(let offset, let fault): "at byte \(offset): \(fault)"
    case .unreadable(let offset, let errno): "cannot read on after byte \(offset): \(errno)"
    }
  }
}

/// What a stream can end in the middle of.
public enum StreamPart: Equatable, Sendable {
  case header, configuration, command, packagedStream, sectionHeader, blockList, record, footer
  /// At a boundary, before the RAM section has ended: what an aborted migration looks like.
  case betweenSections
  case multifdOpening, multifdPacket

  var place: String {
    switch self {
    case .header: "inside the file header"
    case .configuration: "inside the configuration"
    case .command: "inside a command"
    case .packagedStream: "inside a packaged stream"
    case .sectionHeader: "inside a section's header"
    case .blockList: "inside the list of RAM blocks"
    case .record: "inside a RAM record"
    case .footer: "where a section's footer should be"
    case .betweenSections: "between sections, before the end of RAM"
    case .multifdOpening: "inside a multifd channel's opening"
    case .multifdPacket: "inside a multifd packet"
    }
  }
}

/// What is wrong with bytes. Names are a peer's: ``description`` has them without control characters.
public enum StreamFault: Equatable, Sendable, CustomStringConvertible {
  case foreignMagic(found: UInt32)
  case versionUnsupported(found: UInt32)
  case tooLong(what: String, found: UInt64, allowed: UInt64)
  case badPageBits(found: UInt32, allowed: ClosedRange<UInt32>)
  case badCommandLength(command: UInt16, found: Int, expected: Int)
  case secondBlockList
  case badBlockName(byteCount: Int)
  case duplicateBlock(String)
  case badBlockLength(block: String, found: UInt64, left: UInt64, pageByteCount: Int)
  case unknownBlock(String)
  case continuesNothing
  case pageOutsideBlock(block: String, offset: UInt64, byteCount: UInt64)
  case badDeltaHeader(found: UInt8)
  case badFooter(section: UInt32)
  case badPageCounts(normal: UInt32, zero: UInt32, allocated: UInt32, allowed: Int)
  case badPayloadLength(found: UInt32, expected: Int)
  case unalignedPage(offset: UInt64)

  public var description: String {
    switch self {
    case .foreignMagic(let found): "not a QEMU migration stream (it begins with 0x\(String(found, radix: 16)))"
    case .versionUnsupported(let found): "version \(found) of the stream's format, only 3 is known"
    case .tooLong(let what, let found, let allowed): "\(what): \(found), at most \(allowed) are allowed"
    case .badPageBits(let found, let allowed):
      "pages of 2^\(found) bytes, \(allowed.lowerBound) to \(allowed.upperBound) are allowed"
    case .badCommandLength(let command, let found, let expected):
      "command \(command) with \(found) bytes, it has \(expected)"
    case .secondBlockList: "a second list of RAM blocks"
    case .badBlockName(let count): "a RAM block's name of \(count) bytes"
    case .duplicateBlock(let name): "two RAM blocks are named '\(Printable.text(name))'"
    case .badBlockLength(let block, let found, let left, let page):
      "RAM block '\(Printable.text(block))' has \(found) bytes: a multiple of \(page), at most the \(left) left of the total, "
        + "is allowed"
    case .unknownBlock(let name): "a page of RAM block '\(Printable.text(name))', which was not declared"
    case .continuesNothing: "a page that continues a RAM block before one was named"
    case .pageOutsideBlock(let block, let offset, let count):
      "a page at \(offset) of RAM block '\(Printable.text(block))', which has \(count) bytes"
    case .badDeltaHeader(let found): "an XBZRLE page of kind \(found), only 1 is known"
    case .badFooter(let section): "no footer of section \(section)"
    case .badPageCounts(let normal, let zero, let allocated, let allowed):
      "a packet of \(normal) pages and \(zero) zero pages with room for \(allocated), at most \(allowed) are allowed"
    case .badPayloadLength(let found, let expected): "a packet's pages take \(found) bytes, they have \(expected)"
    case .unalignedPage(let offset): "a page at \(offset), which is not a multiple of its size"
    }
  }
}

/// A peer's text for a terminal.
public enum Printable {
  /// `text` with every control character as a space.
  public static func text(_ text: String) -> String {
    String(String.UnicodeScalarView(text.unicodeScalars.map { $0.properties.generalCategory == .control ? " " : $0 }))
  }
}
