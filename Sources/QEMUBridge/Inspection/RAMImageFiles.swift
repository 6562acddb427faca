// SPDX-License-Identifier: Apache-2.0
public import GuestMemory
import SystemPackage

/// RAM that was rebuilt, as files: one raw image per block.
public enum RAMImageFiles {
  /// The name of each block's file: `prefix.<block>.raw`, the block's name without what a file's name should not have.
  public static func paths(prefix: String, blocks: [StreamBlock]) -> [String] {
    var taken = Set<String>()
    return blocks.map { block in
      // Short enough for a file's name, with what comes before and after it.
      let plain = String(block.nameBytes.prefix(100).map { isPlain($0) ? Character(UnicodeScalar($0)) : "_" })
      var name = plain
      var number = 1
      while !taken.insert(name).inserted {
        number += 1
        name = "\(plain)-\(number)"
      }
      return "\(prefix).\(name).raw"
    }
  }

  private static func isPlain(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"):
      true
    default: "._-@".utf8.contains(byte)
    }
  }

  /// Writes every block; pages that hold nothing are holes. The files get their names when all of them are complete.
  /// - Parameter replacing: take the place of files that exist.
  /// - Returns: their paths.
  @discardableResult public static func write(
    _ image: RAMImage, prefix: String, replacing: Bool
  ) throws(GuestMemoryError) -> [String] {
    let paths = paths(prefix: prefix, blocks: image.blocks)
    for path in paths { try ImageDestination.check(path: path, options: .init(replaceExisting: replacing)) }
    var files: [PartialFile] = []
    for (index, path) in paths.enumerated() {
      let file = try PartialFile(path: path, byteCount: image.blocks[index].byteCount)
      files.append(file)
      try image.forEachWrittenPage(ofBlock: index) { (offset: UInt64, page: RawSpan) throws(GuestMemoryError) in
        try write(page, at: offset, to: file)
      }
    }
    for file in files { try file.complete(replacing: replacing) }
    return paths
  }

  private static func write(_ page: RawSpan, at offset: UInt64, to file: PartialFile) throws(GuestMemoryError) {
    let failure = unsafe page.withUnsafeBytes { bytes -> Errno? in
      do {
        unsafe try file.file.writeAll(toAbsoluteOffset: Int64(offset), bytes)
        return nil
      } catch { return (error as? Errno) ?? .ioError }
    }
    switch failure {
    case nil: return
    case .noSpace: throw .diskFull(path: file.partialPath, offset: offset)
    case .some(let errno): throw .writeFailed(path: file.partialPath, offset: offset, errno)
    }
  }
}

/// A stream that is written anew, as a file that gets its name when it is complete.
public final class StreamFile {
  private let file: PartialFile

  /// Makes the partial file.
  /// - Parameter replacing: take the place of a file that exists, at ``complete(replacing:)``.
  public init(path: String, replacing: Bool) throws(GuestMemoryError) {
    try ImageDestination.check(path: path, options: .init(replaceExisting: replacing))
    file = try PartialFile(path: path, byteCount: 0)
  }

  /// What writes to it; not beyond the life of self.
  public var sink: DescriptorSink { DescriptorSink(file.file) }

  /// Gives the file its name.
  public func complete(replacing: Bool) throws(GuestMemoryError) { try file.complete(replacing: replacing) }
}
