// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
public import PageModel

/// Where each RAM block of a guest lies in an image file.
///
/// Read from JSON; numbers may be strings with a unit or in hexadecimal:
/// ```json
/// { "blocks": [
///     { "name": "ram.low",  "guestPhysicalBase": 0,             "fileOffset": 0,        "size": "3GiB" },
///     { "name": "ram.high", "guestPhysicalBase": "0x100000000", "fileOffset": "3GiB",   "size": "5GiB" } ] }
/// ```
public struct MemoryMap: Sendable, Equatable {
  /// The guest's RAM blocks.
  public let blocks: BlockTable
  /// Byte of the image at which each block begins.
  public let fileOffsets: [UInt64]

  /// Bytes that the image must have.
  public var fileByteCount: UInt64 { zip(blocks.blocks, fileOffsets).map { $1 + $0.byteCount }.max() ?? 0 }

  /// One block that is the whole image.
  public init(wholeImage byteCount: UInt64, name: String = "ram") throws(GuestMemoryError) {
    try self.init(consecutive: [RAMBlock(name: name, guestPhysicalBase: 0, byteCount: byteCount)])
  }

  /// Blocks one after the other, in the order given.
  public init(consecutive blocks: [RAMBlock]) throws(GuestMemoryError) {
    self.blocks = try Self.table(blocks)
    var offset: UInt64 = 0
    fileOffsets = blocks.map { block in
      defer { offset += block.byteCount }
      return offset
    }
  }

  private static func table(_ blocks: [RAMBlock]) throws(GuestMemoryError) -> BlockTable {
    do { return try BlockTable(blocks) } catch { throw .badBlocks(error) }
  }

  private struct File: Codable {
    struct Block: Codable {
      var name: String
      var guestPhysicalBase: Amount
      var fileOffset: Amount
      var size: Amount
      var hostPageSize: Amount?
    }
    var blocks: [Block]
  }

  /// A number, or a string that ``ByteCount`` reads.
  private struct Amount: Codable {
    var value: UInt64

    init(_ value: UInt64) { self.value = value }

    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      if let number = try? container.decode(UInt64.self) {
        value = number
      } else if let text = try? container.decode(String.self), let parsed = ByteCount.parse(text) {
        value = parsed
      } else {
        throw DecodingError.dataCorruptedError(
          in: container, debugDescription: "is neither a whole number nor text such as \"0x1000\" or \"3GiB\"")
      }
    }

    func encode(to encoder: any Encoder) throws {
      var container = encoder.singleValueContainer()
      try container.encode(value)
    }
  }

  /// Reads a memory map.
  /// - Throws: ``GuestMemoryError/badMap(path:reason:)`` and its like, naming the field that is wrong.
  public init(path: String) throws(GuestMemoryError) {
    let text = try FileBytes.read(path: path, limit: 1 << 20)
    let file: File
    do {
      file = try JSONDecoder().decode(File.self, from: Data(text))
    } catch let error as DecodingError {
      throw .badMap(path: path, reason: Self.sentence(for: error))
    } catch {
      throw .badMap(path: path, reason: "\(error)")
    }
    let ram = file.blocks.map { block in
      RAMBlock(
        name: block.name, guestPhysicalBase: block.guestPhysicalBase.value, byteCount: block.size.value,
        hostPageByteCount: UInt32(clamping: block.hostPageSize?.value ?? 4096))
    }
    do { blocks = try BlockTable(ram) } catch { throw .badMap(path: path, reason: error.description) }
    fileOffsets = file.blocks.map { $0.fileOffset.value }
    try checkOffsets(path: path)
  }

  private func checkOffsets(path: String) throws(GuestMemoryError) {
    let placed = zip(blocks.blocks, fileOffsets).sorted { $0.1 < $1.1 }
    for (block, offset) in placed where !offset.isMultiple(of: UInt64(PageGeometry.pageByteCount)) {
      throw .badMap(path: path, reason: "RAM block '\(block.name)': file offset \(offset) is not a multiple of 4096")
    }
    for (block, offset) in placed where offset > UInt64(Int64.max) - block.byteCount {
      throw .badMap(path: path, reason: "RAM block '\(block.name)': file offset \(offset) is too large")
    }
    for (lower, upper) in zip(placed, placed.dropFirst()) where lower.1 + lower.0.byteCount > upper.1 {
      throw .badMap(
        path: path, reason: "RAM blocks '\(lower.0.name)' and '\(upper.0.name)' overlap in the image file")
    }
  }

  /// The map as JSON, for the one that a receiver leaves beside an image of several blocks.
  public func json() throws -> [UInt8] {
    let file = File(
      blocks: zip(blocks.blocks, fileOffsets).map { block, offset in
        File.Block(
          name: block.name, guestPhysicalBase: Amount(block.guestPhysicalBase), fileOffset: Amount(offset),
          size: Amount(block.byteCount), hostPageSize: Amount(UInt64(block.hostPageByteCount)))
      })
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    return Array(try encoder.encode(file)) + [UInt8(ascii: "\n")]
  }

  private static func sentence(for error: DecodingError) -> String {
    func at(_ path: [any CodingKey]) -> String {
      path.map { $0.intValue.map { "[\($0)]" } ?? ".\($0.stringValue)" }.joined()
    }
    switch error {
    case .keyNotFound(let key, let context):
      return "\(at(context.codingPath).isEmpty ? "the file" : at(context.codingPath)) lacks '\(key.stringValue)'"
    case .typeMismatch(_, let context), .valueNotFound(_, let context), .dataCorrupted(let context):
      let place = at(context.codingPath)
      return place.isEmpty ? "it is not valid JSON of the documented shape" : "\(place) \(context.debugDescription)"
    @unknown default: return "\(error)"
    }
  }
}
