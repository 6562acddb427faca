// SPDX-License-Identifier: Apache-2.0
import PageKernels
import PageModel
import SystemPackage

/// Raw RAM images in memory.
enum GuestImages {
  /// Reads a whole image.
  static func load(_ path: String) throws -> (region: Region, pageCount: Int) {
    do {
      let file = try FileDescriptor.open(FilePath(path), .readOnly, options: [.closeOnExec])
      defer { try? file.close() }
      let byteCount = Int(try file.seek(offset: 0, from: .end))
      guard byteCount > 0, byteCount.isMultiple(of: PageGeometry.pageByteCount) else {
        throw UsageError(message: "\(path): \(byteCount) bytes are no whole number of pages")
      }
      let region = try Region(byteCount: byteCount, .huge)
      for start in stride(from: 0, to: byteCount, by: PageGeometry.stripeByteCount) {
        try region.write(start..<min(start + PageGeometry.stripeByteCount, byteCount)) { span in
          try read(file, at: start, into: &span, path)
        }
      }
      return (region, byteCount / PageGeometry.pageByteCount)
    } catch let error as Errno { throw UsageError(message: "\(path): \(error)") }
  }

  private static func read(
    _ file: FileDescriptor, at start: Int, into span: inout MutableRawSpan, _ path: String
  ) throws {
    // SAFETY: reads into the span's own bytes.
    try unsafe span.withUnsafeMutableBytes { bytes in
      var filled = 0
      while filled < bytes.count {
        let room = unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[filled...])
        let count = unsafe try file.read(fromAbsoluteOffset: Int64(start + filled), into: room)
        guard count > 0 else { throw UsageError(message: "\(path) became shorter while it was read") }
        filled += count
      }
    }
  }

  static func isZero(_ region: Region, _ number: Int) -> Bool {
    region.read(number.bytesOfPage) { ZeroScan.isZero(page: $0) }
  }
}

/// Pages that differ between two images and hold data in both, one behind the other in memory of their own.
final class ChangedPages: Sendable {
  let base: Region
  let page: Region
  let count: Int

  /// Copies them out of images of the same size.
  init(_ before: Region, _ after: Region, pageCount: Int) throws {
    let numbers = (0..<pageCount).filter { number in
      References.equalPages(before, after, number..<number + 1) == 0
        && !GuestImages.isZero(before, number) && !GuestImages.isZero(after, number)
    }
    count = numbers.count
    base = try Self.gather(numbers, from: before)
    page = try Self.gather(numbers, from: after)
  }

  /// The pages with these numbers, packed.
  static func gather(_ numbers: [Int], from image: Region) throws -> Region {
    let packed = try Region(pageCount: numbers.count, .huge)
    for (index, number) in numbers.enumerated() {
      image.read(number.bytesOfPage) { page in packed.write(index.bytesOfPage) { $0.copyBytes(of: page) } }
    }
    return packed
  }
}
