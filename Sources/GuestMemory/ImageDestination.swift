// SPDX-License-Identifier: Apache-2.0
import CHostSystem
import Glibc
import HostSystem
public import PageKernels
public import PageModel
import Synchronization
import SystemPackage

/// A raw RAM image being received into a file.
///
/// Written under a name of its own and renamed at commit, so that a half-written image is never taken for whole.
/// Written with pwrite(2), not mapped: a full disk is then an error and not SIGBUS, and zero pages stay holes.
public final class ImageDestination: DestinationMemory {
  /// What is added to the output's name until commit.
  public static let partialSuffix = ".pageferry-partial"

  public var blocks: BlockTable { map.blocks }
  private let map: MemoryMap
  private let path: String
  private let partialPath: String
  private let file: FileDescriptor
  private let options: Options
  private let written: WrittenPages
  private let finished = Mutex(false)

  /// How the file is to be made.
  public struct Options: Sendable {
    /// Take the place of a file that exists.
    public var replaceExisting: Bool
    /// Have everything on stable storage before the commit (fsync).
    public var synchronize: Bool
    /// Leave the memory map beside the image, as `<image>.map.json`.
    public var writeMap: Bool

    public init(replaceExisting: Bool = false, synchronize: Bool = false, writeMap: Bool = false) {
      self.replaceExisting = replaceExisting
      self.synchronize = synchronize
      self.writeMap = writeMap
    }
  }

  /// Checks that an image could be received at `path`, without making anything.
  public static func check(path: String, options: Options) throws(GuestMemoryError) {
    var status = stat()
    guard unsafe stat(path, &status) == 0 else {
      let directory = FilePath(path).removingLastComponent().string
      guard unsafe access(directory.isEmpty ? "." : directory, W_OK) == 0 else {
        throw .cannotOpen(path: path, Errno(rawValue: errno))
      }
      return
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw .notAnImage(path: path, what: "not a regular file")
    }
    guard options.replaceExisting else { throw .outputExists(path: path) }
  }

  /// Makes the partial file, all holes.
  public init(path: String, map: MemoryMap, options: Options) throws(GuestMemoryError) {
    try Self.check(path: path, options: options)
    self.path = path
    self.map = map
    self.options = options
    partialPath = path + Self.partialSuffix
    do {
      file = try FileDescriptor.open(
        FilePath(partialPath), .readWrite, options: [.create, .closeOnExec], permissions: .init(rawValue: 0o600))
    } catch { throw .cannotOpen(path: partialPath, (error as? Errno) ?? .ioError) }
    written = WrittenPages(map.blocks)
    guard flock(file.rawValue, LOCK_EX | LOCK_NB) == 0 else {
      try? file.close()
      throw .outputBusy(path: path)
    }
    // First to nothing: a leftover of a receiver that was killed must not show through the holes.
    guard ftruncate(file.rawValue, 0) == 0, ftruncate(file.rawValue, off_t(map.fileByteCount)) == 0 else {
      let reason = Errno(rawValue: errno)
      _ = unsafe unlink(partialPath)
      try? file.close()
      throw .cannotReserve(byteCount: map.fileByteCount, reason: "'\(partialPath)': \(reason)")
    }
  }

  deinit {
    discard()
    try? file.close()
  }

  public func store(_ data: RawSpan, block: Int, span: Int, pages: PageMask) throws(GuestMemoryError) {
    precondition(data.byteCount == pages.nonzeroBitCount * PageGeometry.pageByteCount, "one page of data per page")
    written.maps[block].insert(pages, span: span)
    var offset = 0
    try pages.forEachRun { (run: Range<Int>) throws(GuestMemoryError) in
      let byteCount = run.count * PageGeometry.pageByteCount
      try write(data.extracting(offset..<offset + byteCount), at: fileOffset(block, span, run.lowerBound))
      offset += byteCount
    }
  }

  public func clear(block: Int, span: Int, pages: PageMask) throws(GuestMemoryError) {
    let stale = pages & written.maps[block].pages(span: span)
    guard stale != 0 else { return }
    let zeros = try buffer()
    try stale.forEachRun { (run: Range<Int>) throws(GuestMemoryError) in
      try zeros.withBytes(0..<run.count * PageGeometry.pageByteCount) { (bytes) throws(GuestMemoryError) in
        try write(bytes, at: fileOffset(block, span, run.lowerBound))
      }
    }
  }

  public func digest(block: Int, spans: Range<Int>) throws(GuestMemoryError) -> BlockDigest {
    var digest = BlockDigest()
    var copy = try buffer()
    for span in spans {
      try written.maps[block].pages(span: span).forEachRun { (run: Range<Int>) throws(GuestMemoryError) in
        let range = 0..<run.count * PageGeometry.pageByteCount
        try read(at: fileOffset(block, span, run.lowerBound), into: &copy, range)
        copy.withBytes(range) {
          digest.add($0, span: span, pages: .lowest(run.count) << PageMask(run.lowerBound))
        }
      }
    }
    return digest
  }

  /// One span of zeroed memory.
  private func buffer() throws(GuestMemoryError) -> PageBuffer {
    do { return try PageBuffer(byteCount: PageGeometry.spanByteCount) } catch {
      throw .cannotReserve(byteCount: UInt64(PageGeometry.spanByteCount), reason: "\(error)")
    }
  }

  private func fileOffset(_ block: Int, _ span: Int, _ page: Int) -> UInt64 {
    map.fileOffsets[block] + UInt64(span * PageGeometry.spanByteCount + page * PageGeometry.pageByteCount)
  }

  private func write(_ data: RawSpan, at offset: UInt64) throws(GuestMemoryError) {
    do { try FileBytes.write(file, at: offset, data) } catch {
      switch error {
      case .noSpace, .diskQuotaExceeded: throw .diskFull(path: partialPath, offset: offset)
      default: throw .writeFailed(path: partialPath, offset: offset, error)
      }
    }
  }

  private func read(at offset: UInt64, into buffer: inout PageBuffer, _ range: Range<Int>) throws(GuestMemoryError) {
    let whole: Bool
    do throws(Errno) {
      whole = try buffer.withMutableBytes(range) { (bytes) throws(Errno) in
        try FileBytes.read(file, at: offset, into: &bytes)
      }
    } catch {
      throw .readFailed(path: partialPath, offset: offset, error)
    }
    guard whole else { throw .changedWhileRead(path: partialPath) }
  }

  public var writtenByteCount: UInt64 { written.byteCount }

  public func prepareToComplete() throws(GuestMemoryError) {
    if options.synchronize, fdatasync(file.rawValue) != 0 { throw failure("write to stable storage") }
    if options.writeMap { try writeMap() }
  }

  public func complete() throws(GuestMemoryError) {
    guard unsafe rename(partialPath, path) == 0 else { throw failure("rename to '\(path)'") }
    finished.withLock { $0 = true }
    if options.synchronize {
      let directory = FilePath(path).removingLastComponent().string
      _ = unsafe hs_sync_directory(directory.isEmpty ? "." : directory)
    }
  }

  private func writeMap() throws(GuestMemoryError) {
    let mapPath = path + ".map.json"
    do {
      let bytes = try map.json()
      let target = try FileDescriptor.open(
        FilePath(mapPath), .writeOnly, options: [.create, .truncate, .closeOnExec],
        permissions: .init(rawValue: 0o600))
      defer { try? target.close() }
      try target.writeAll(bytes)
    } catch { throw .cannotFinish(path: mapPath, step: "write", (error as? Errno) ?? .ioError) }
  }

  private func failure(_ step: String) -> GuestMemoryError {
    .cannotFinish(path: partialPath, step: step, Errno(rawValue: errno))
  }

  public func discard() {
    finished.withLock { done in
      if !done { _ = unsafe unlink(partialPath) }
      done = true
    }
  }
}
