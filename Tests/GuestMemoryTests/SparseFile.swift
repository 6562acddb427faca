// SPDX-License-Identifier: Apache-2.0
import Glibc
import TestSupport
import Testing

/// Files with holes.
enum SparseFile {
  /// Makes a file of `pageCount` pages that has data only where `pages` is written.
  static func make(_ path: String, pageCount: Int, pages: [(first: Int, content: [UInt8])]) throws {
    let file = unsafe open(path, O_RDWR | O_CREAT | O_TRUNC, 0o600)
    try #require(file >= 0, "cannot make \(path)")
    defer { close(file) }
    try #require(ftruncate(file, off_t(pageCount * pageByteCount)) == 0)
    for (first, content) in pages {
      let written = unsafe pwrite(file, content, content.count, off_t(first * pageByteCount))
      try #require(written == content.count)
    }
  }

  /// Bytes that the file takes up on the disk.
  static func allocatedByteCount(_ path: String) -> Int {
    var status = stat()
    guard unsafe stat(path, &status) == 0 else { return -1 }
    return Int(status.st_blocks) * 512
  }

  static func byteCount(_ path: String) -> Int {
    var status = stat()
    guard unsafe stat(path, &status) == 0 else { return -1 }
    return Int(status.st_size)
  }

  /// Whether the file system of the temporary directory reports holes of this size.
  static let areReported: Bool = {
    let directory = TemporaryDirectory()
    let path = directory.file("probe")
    do { try make(path, pageCount: 64, pages: [(32, [UInt8](repeating: 1, count: pageByteCount))]) } catch {
      return false
    }
    let file = unsafe open(path, O_RDONLY)
    defer { close(file) }
    // 3 is SEEK_DATA on Linux.
    return lseek(file, 0, 3) == off_t(32 * pageByteCount)
  }()
}
