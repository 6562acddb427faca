// SPDX-License-Identifier: Apache-2.0
import HostSystem
public import PageCodecs
import PageModel
public import SystemPackage

/// Why RAM could not be rebuilt from a stream.
public enum RAMImageError: Error, Equatable, Sendable, CustomStringConvertible {
  /// Blocks of that size cannot be mapped here.
  case cannotMap(byteCount: UInt64, Errno)
  /// Pages that hold something take more than they may.
  case overLimit(limit: UInt64)
  case badPage(position: UInt64, PageFault)
  case badPacket(position: UInt64, StreamFault)
  case noDecoder(CodecError)

  public var description: String {
    switch self {
    case .cannotMap(let count, let errno): "cannot map \(ByteCount.format(count)) for the guest's RAM: \(errno)"
    case .overLimit(let limit): "the guest's RAM takes more than \(ByteCount.format(limit)): see --memory"
    case .badPage(let offset, let fault): "at byte \(offset): \(fault)"
    case .badPacket(let offset, let fault): "at byte \(offset): \(fault)"
    case .noDecoder(let error): error.description
    }
  }
}

/// A guest's RAM as a stream leaves it: a page that was never named is zero.
///
/// Blocks are mapped at their declared sizes, but take memory only for pages that hold something; ``limit`` bounds that.
/// One thread's.
@safe public final class RAMImage {
  public let blocks: [StreamBlock]
  public let pageByteCount: Int
  /// Most bytes of pages that hold something.
  public let limit: UInt64
  /// Bytes of pages that have been written.
  public private(set) var writtenByteCount: UInt64 = 0
  /// Pages that have been written.
  private let written: PageLedger
  private let memory: [MappedBlock]
  private let decoder: PageDecoder

  /// Address space of a block.
  @safe private final class MappedBlock {
    private let buffer: PageBuffer
    init(_ byteCount: UInt64) throws(Errno) { buffer = try PageBuffer(byteCount: Int(byteCount)) }
    var base: UnsafeMutableRawPointer { unsafe buffer.unsafeBase }
    var byteCount: Int { buffer.byteCount }
  }

  public init(
    blocks: [StreamBlock], pageByteCount: Int, limit: UInt64
  ) throws(RAMImageError) {
    self.blocks = blocks
    self.pageByteCount = pageByteCount
    self.limit = limit
    do throws(CodecError) { decoder = try PageDecoder() } catch { throw .noDecoder(error) }
    written = try PageLedger(blocks: blocks, pageByteCount: pageByteCount)
    var memory: [MappedBlock] = []
    for block in blocks {
      do throws(Errno) { memory.append(try MappedBlock(block.byteCount)) } catch {
        throw .cannotMap(byteCount: block.byteCount, error)
      }
    }
    self.memory = memory
  }

  /// Applies a record of the stream that has declared the blocks.
  /// - Parameter position: of the record in the stream, for errors.
  public func apply(_ record: PageRecord, payload: RawSpan, position: UInt64) throws(RAMImageError) {
    if record.encoding == .zero, record.fill == 0 { return try clear(block: record.block, offset: record.offset) }
    // SAFETY: one whole page of the mapping, which nobody else uses.
    var page = unsafe MutableRawSpan(_unsafeBytes: try place(record.block, record.offset))
    do throws(PageFault) { try decoder.decode(record, payload, into: &page) } catch {
      throw .badPage(position: position, error)
    }
  }

  /// Stores a page, which is inside its block.
  public func store(_ bytes: RawSpan, block: Int, offset: UInt64) throws(RAMImageError) {
    precondition(bytes.byteCount == pageByteCount, "a whole page")
    let page = unsafe try place(block, offset)
    unsafe bytes.withUnsafeBytes { unsafe page.copyMemory(from: $0) }
  }

  /// Makes a page zero, which is inside its block.
  public func clear(block: Int, offset: UInt64) throws(RAMImageError) {
    guard written.contains(block: block, offset: offset) else { return }
    _ = unsafe try place(block, offset).initializeMemory(as: UInt8.self, repeating: 0)
  }

  /// The memory of a page, which from now on holds something.
  private func place(_ block: Int, _ offset: UInt64) throws(RAMImageError) -> UnsafeMutableRawBufferPointer {
    if !written.contains(block: block, offset: offset) {
      guard writtenByteCount + UInt64(pageByteCount) <= limit else { throw .overLimit(limit: limit) }
      written.insert(block: block, offset: offset)
      writtenByteCount += UInt64(pageByteCount)
    }
    // SAFETY: the ledger has checked that the page is inside its block, which is mapped as long as self.
    return unsafe UnsafeMutableRawBufferPointer(start: memory[block].base + Int(offset), count: pageByteCount)
  }

  /// Calls `body` with a page's bytes.
  public func withPage<Result, Failure: Error>(
    block: Int, offset: UInt64, _ body: (RawSpan) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    precondition(offset <= blocks[block].byteCount - UInt64(pageByteCount), "the page is inside its block")
    // SAFETY: inside the mapping, by the precondition.
    return try body(unsafe RawSpan(_unsafeStart: memory[block].base + Int(offset), byteCount: pageByteCount))
  }

  /// Calls `body` with each page of a block that was ever written, ascending; all others are zero.
  public func forEachWrittenPage<Failure: Error>(
    ofBlock block: Int, _ body: (UInt64, RawSpan) throws(Failure) -> Void
  ) throws(Failure) {
    try written.forEach(ofBlock: block) { (page: UInt64) throws(Failure) in
      let offset = page * UInt64(pageByteCount)
      try withPage(block: block, offset: offset) { (bytes: RawSpan) throws(Failure) in try body(offset, bytes) }
    }
  }

  /// A block's bytes, all of them: for tests.
  public func bytes(ofBlock block: Int) -> [UInt8] {
    unsafe Array(UnsafeRawBufferPointer(start: memory[block].base, count: Int(blocks[block].byteCount)))
  }
}
