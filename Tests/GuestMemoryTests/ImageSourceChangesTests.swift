// SPDX-License-Identifier: Apache-2.0
import Glibc
import GuestMemory
import PageKernels
import TestSupport
import Testing

@Suite("Images that change while they are sent")
struct ImageSourceChangesTests {
  private let directory = TemporaryDirectory()
  private let path: String
  private let source: ImageSource

  init() throws {
    path = try directory.write([UInt8](repeating: 1, count: 64 * pageByteCount), to: "image")
    source = try ImageSource(path: path)
  }

  private var changed: GuestMemoryError { .changedWhileRead(path: path) }

  @Test("An image that nobody touched is unchanged")
  func unchanged() throws {
    _ = try Taken(source, span: 0, wanted: .max)
    try source.checkUnchanged()
  }

  @Test("Reading past where a file was cut off is an error, not zeros and not a signal")
  func truncatedIsSeenByReading() throws {
    try #require(unsafe truncate(path, off_t(10 * pageByteCount)) == 0)
    #expect(throws: changed) { try Taken(source, span: 0, wanted: .max) }
    #expect(throws: changed) { try Taken(source, span: 0, wanted: 1 << 10) }
    // What is left can still be read.
    #expect(try Taken(source, span: 0, wanted: 1 << 9).result.copiedPageCount == 1)
  }

  @Test(
    "A file that changed its size has changed", arguments: [10 * 4096, 65 * 4096, 10 * 4096 + 5, 100 * 4096 + 1, 0])
  func sizeChanged(byteCount: Int) throws {
    try #require(unsafe truncate(path, off_t(byteCount)) == 0)
    #expect(throws: changed) { try source.checkUnchanged() }
  }

  @Test("A file that was written to has changed")
  func touched() throws {
    // Set by hand: the clock behind a file's times may stand still for longer than this test runs.
    let times = [timespec(tv_sec: 1_000_000, tv_nsec: 0), timespec(tv_sec: 1_000_000, tv_nsec: 1)]
    try #require(unsafe utimensat(AT_FDCWD, path, times, 0) == 0)
    #expect(throws: changed) { try source.checkUnchanged() }
  }

  @Test("A file that was replaced under its name is still read as it was")
  func replaced() throws {
    let other = try directory.write([UInt8](repeating: 2, count: 64 * pageByteCount), to: "other")
    try #require(unsafe rename(other, path) == 0)
    let taken = try Taken(source, span: 0, wanted: .max)
    let same = taken.staging.allSatisfy { $0 == 1 }
    #expect(same)
  }
}
