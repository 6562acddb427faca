// SPDX-License-Identifier: Apache-2.0
import Glibc
import GuestMemory
import TestSupport
import Testing

/// A file system of 1 MiB in a temporary directory, unmounted when it is let go.
final class SmallDisk {
  private let directory = TemporaryDirectory()
  let path: String

  init?() {
    path = directory.file("disk")
    guard unsafe mkdir(path, 0o700) == 0 else { return nil }
    guard unsafe mount("tmpfs", path, "tmpfs", 0, "size=1m") == 0 else {
      _ = unsafe rmdir(path)
      return nil
    }
  }

  deinit {
    _ = unsafe umount2(path, Int32(MNT_DETACH))
    _ = unsafe rmdir(path)
  }

  /// Whether this process may mount.
  static let isPossible = SmallDisk() != nil
}

@Suite(
  "A disk that becomes full", .enabled(if: SmallDisk.isPossible, "NOT TESTED: mounting a small disk takes root"))
struct FullDiskTests {
  @Test("A full disk is an error that says where, and the space comes back")
  func full() throws {
    let disk = try #require(SmallDisk())
    let output = disk.path + "/out"
    let partial = output + ImageDestination.partialSuffix
    let map = try MemoryMap(wholeImage: UInt64(16 * spanByteCount))
    do {
      let destination = try ImageDestination(path: output, map: map, options: .init())
      let data = SamplePages.image(Array(repeating: .random, count: 64), seed: 521)
      var stored = 0
      var failure: GuestMemoryError?
      while failure == nil, stored < 16 {
        do {
          try destination.store(data, block: 0, span: stored, pages: .max)
          stored += 1
        } catch { failure = try #require(error as? GuestMemoryError) }
      }
      guard case .diskFull(partial, let offset) = try #require(failure, "16 spans fit into 1 MiB") else {
        Issue.record("another error: \(String(describing: failure))")
        return
      }
      #expect((1...4).contains(stored))
      #expect(offset == UInt64(stored * spanByteCount))
      destination.discard()
    }
    #expect(!TemporaryDirectory.exists(partial))
    // There is room again.
    let next = try ImageDestination(path: output, map: map, options: .init())
    try next.store([UInt8](repeating: 1, count: spanByteCount), block: 0, span: 3, pages: .max)
    try next.complete()
  }

  @Test("An image that is larger than the disk can be received if its data fits")
  func sparse() throws {
    let disk = try #require(SmallDisk())
    let destination = try ImageDestination(
      path: disk.path + "/out", map: try MemoryMap(wholeImage: 1 << 30), options: .init(synchronize: true))
    try destination.store([UInt8](repeating: 1, count: pageByteCount), block: 0, span: 4095, pages: 1 << 63)
    try destination.prepareToComplete()
    try destination.complete()
    #expect(SparseFile.byteCount(disk.path + "/out") == 1 << 30)
  }
}
