// SPDX-License-Identifier: Apache-2.0
import CHostSystem
import Glibc
import HostSystem
public import PageKernels
public import PageModel
import Synchronization
import SystemPackage

/// A raw RAM image in a file: the memory of a guest that does not run.
///
/// Read with pread(2), not mapped: a file that shrinks, or a disk that fails, is then an error and not SIGBUS, and
/// copying out of the page cache costs no faults. Holes (SEEK_HOLE) are zero by definition and never read.
public final class ImageSource: SourceMemory {
  public let blocks: BlockTable
  private let map: MemoryMap
  private let path: String
  private let file: FileDescriptor
  private let identity: FileIdentity

  /// What changes when somebody writes to the file.
  private struct FileIdentity: Equatable {
    var byteCount: Int64
    var modifiedSeconds: Int
    var modifiedNanoseconds: Int

    /// Of an open file; nil if the kernel will not say. The size by seeking: a block device has none in its inode.
    init?(_ file: FileDescriptor) {
      var status = stat()
      let end = lseek(file.rawValue, 0, SEEK_END)
      guard unsafe fstat(file.rawValue, &status) == 0, end >= 0 else { return nil }
      byteCount = Int64(end)
      modifiedSeconds = status.st_mtim.tv_sec
      modifiedNanoseconds = status.st_mtim.tv_nsec
    }
  }

  /// Opens an image.
  /// - Parameter map: where its RAM blocks lie; without one the whole file is one block named `ram`.
  public init(path: String, map: MemoryMap? = nil) throws(GuestMemoryError) {
    let file: FileDescriptor
    do {
      file = try FileDescriptor.open(FilePath(path), .readOnly, options: [.closeOnExec])
    } catch { throw .cannotOpen(path: path, (error as? Errno) ?? .ioError) }
    do throws(GuestMemoryError) {
      let (identity, byteCount) = try Self.examine(file, path: path)
      if let map { self.map = map } else { self.map = try MemoryMap(wholeImage: byteCount) }
      for (block, offset) in zip(self.map.blocks.blocks, self.map.fileOffsets)
      where offset + block.byteCount > byteCount {
        throw GuestMemoryError.mapPastEnd(
          path: path, block: block.name, end: offset + block.byteCount, byteCount: byteCount)
      }
      self.identity = identity
    } catch {
      try? file.close()
      throw error
    }
    self.file = file
    self.path = path
    blocks = self.map.blocks
    _ = hs_advise_sequential(file.rawValue)
  }

  deinit { try? file.close() }

  private static func examine(
    _ file: FileDescriptor, path: String
  ) throws(GuestMemoryError) -> (FileIdentity, byteCount: UInt64) {
    var status = stat()
    guard unsafe fstat(file.rawValue, &status) == 0, let identity = FileIdentity(file) else {
      throw .cannotOpen(path: path, Errno(rawValue: errno))
    }
    switch status.st_mode & S_IFMT {
    case S_IFREG, S_IFBLK: break
    case S_IFDIR: throw .notAnImage(path: path, what: "a directory")
    default: throw .notAnImage(path: path, what: "neither a regular file nor a block device")
    }
    let byteCount = UInt64(identity.byteCount)
    guard byteCount > 0 else { throw .notAnImage(path: path, what: "empty") }
    guard byteCount.isMultiple(of: UInt64(PageGeometry.pageByteCount)) else {
      throw .notPageMultiple(path: path, byteCount: byteCount)
    }
    return (identity, byteCount)
  }

  public func snapshot(
    block: Int, span: Int, wanted: PageMask, into staging: inout MutableRawSpan
  ) throws(GuestMemoryError) -> Snapshot.Result {
    let base = map.fileOffsets[block] + UInt64(span * PageGeometry.spanByteCount)
    var filled = 0
    try wanted.forEachRun { (run: Range<Int>) throws(GuestMemoryError) in
      let byteCount = run.count * PageGeometry.pageByteCount
      let offset = base + UInt64(run.lowerBound * PageGeometry.pageByteCount)
      var part = staging._mutatingExtracting(filled..<filled + byteCount)
      try read(at: offset, into: &part)
      filled += byteCount
    }
    var packed = staging._mutatingExtracting(0..<filled)
    let result = Snapshot.dropZeroPages(from: &packed)
    return Snapshot.Result(
      zeroMask: Self.spread(result.zeroMask, over: wanted), copiedPageCount: result.copiedPageCount)
  }

  private func read(at offset: UInt64, into bytes: inout MutableRawSpan) throws(GuestMemoryError) {
    let whole: Bool
    do { whole = try FileBytes.read(file, at: offset, into: &bytes) } catch {
      throw .readFailed(path: path, offset: offset, error)
    }
    guard whole else { throw .changedWhileRead(path: path) }
  }

  /// Moves bit *i* of `packed` to the *i*-th set bit of `wanted` (what the PDEP instruction does).
  static func spread(_ packed: PageMask, over wanted: PageMask) -> PageMask {
    guard packed != 0, wanted != .max else { return packed }
    var result: PageMask = 0
    var rest = wanted
    var left = packed
    while left != 0 {
      if left & 1 != 0 { result |= rest & (~rest &+ 1) }
      rest &= rest &- 1
      left >>= 1
    }
    return result
  }

  public func prefetch(block: Int, span: Int) {
    let offset = map.fileOffsets[block] + UInt64(span * PageGeometry.spanByteCount)
    _ = hs_advise_will_need(file.rawValue, Int64(offset), Int64(PageGeometry.stripeByteCount))
  }

  public func presentPages(block: Int) throws(GuestMemoryError) -> SpanMap {
    FileBytes.presentPages(file, from: map.fileOffsets[block], of: blocks.blocks[block])
  }

  /// The image in memory of this process, all of it resident and in huge pages, as a VMM has its guest.
  /// - Parameter threadCount: threads that read.
  public func loaded(threadCount: Int) throws(GuestMemoryError) -> ProcessMemorySource {
    let memory = try AnonymousMemory(blocks: blocks, populateAhead: false)
    let next = Atomic<Int>(0)
    let failure = Mutex<GuestMemoryError?>(nil)
    let chunks = blocks.blocks.indices.flatMap { block in
      stride(from: 0, to: Int(blocks.blocks[block].byteCount), by: Self.loadByteCount).map { (block, $0) }
    }
    let threads = (0..<max(1, threadCount)).map { number in
      HostThread(name: "pf-load-\(number)") { [self] in
        while true {
          let index = next.add(1, ordering: .relaxed).oldValue
          guard index < chunks.count, failure.withLock({ $0 == nil }) else { return }
          let (block, start) = chunks[index]
          let byteCount = min(Self.loadByteCount, Int(blocks.blocks[block].byteCount) - start)
          // SAFETY: the chunk lies in its block, and is this thread's alone.
          var bytes = unsafe MutableRawSpan(_unsafeStart: memory.base(block: block) + start, byteCount: byteCount)
          do throws(GuestMemoryError) { try read(at: map.fileOffsets[block] + UInt64(start), into: &bytes) } catch {
            failure.withLock { $0 = error }
          }
        }
      }
    }
    for thread in threads { thread.join() }
    if let failure = failure.withLock({ $0 }) { throw failure }
    try checkUnchanged()
    // SAFETY: each base is that of a block, mapped as long as the owner lives.
    return unsafe ProcessMemorySource(
      blocks: blocks, bases: blocks.blocks.indices.map { unsafe UnsafeRawPointer(memory.base(block: $0)) },
      owner: memory)
  }

  private static let loadByteCount = 2 << 20

  public func checkUnchanged() throws(GuestMemoryError) {
    guard FileIdentity(file) == identity else { throw .changedWhileRead(path: path) }
  }
}
