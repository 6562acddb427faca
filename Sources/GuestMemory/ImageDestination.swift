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
  public static var partialSuffix: String { PartialFile.suffix }

  public var blocks: BlockTable { map.blocks }
  private let map: MemoryMap
  private let path: String
  private let image: PartialFile
  private let mapFile = Mutex<PartialFile?>(nil)
  private let options: Options
  private let written: WrittenPages

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
    if unsafe stat(path, &status) == 0 {
      guard status.st_mode & S_IFMT == S_IFREG else { throw .notAnImage(path: path, what: "not a regular file") }
      guard options.replaceExisting else { throw .outputExists(path: path) }
      return
    }
    guard FilePath(path).lastComponent != nil else { throw .cannotOpen(path: path, .noSuchFileOrDirectory) }
    let folder = PartialFile.folder(of: path)
    guard unsafe stat(folder, &status) == 0, unsafe access(folder, W_OK) == 0 else {
      throw .cannotOpen(path: path, Errno(rawValue: errno))
    }
    guard status.st_mode & S_IFMT == S_IFDIR else { throw .cannotOpen(path: path, .notDirectory) }
  }

  /// Makes the partial file, all holes.
  public init(path: String, map: MemoryMap, options: Options) throws(GuestMemoryError) {
    try Self.check(path: path, options: options)
    self.map = map
    self.options = options
    written = WrittenPages(map.blocks)
    image = try PartialFile(path: path, byteCount: map.fileByteCount)
    self.path = path
  }

  deinit { discard() }

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

  public func apply(
    _ deltas: RawSpan, places: ArraySlice<Range<Int>>, block: Int, span: Int, pages: PageMask
  ) throws(GuestMemoryError) {
    precondition(places.count == pages.nonzeroBitCount, "one delta per page")
    written.maps[block].insert(pages, span: span)
    var copy = try buffer()
    let page = 0..<PageGeometry.pageByteCount
    var rest = pages
    for place in places {
      let offset = fileOffset(block, span, rest.trailingZeroBitCount)
      try read(at: offset, into: &copy, page)
      do throws(Delta.Fault) {
        try copy.withMutableBytes(page) { (bytes) throws(Delta.Fault) in
          try Delta.apply(deltas.extracting(place), to: &bytes)
        }
      } catch { throw .badDelta(error) }
      try copy.withBytes(page) { (bytes) throws(GuestMemoryError) in try write(bytes, at: offset) }
      rest &= rest &- 1
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
    do { try FileBytes.write(image.file, at: offset, data) } catch {
      switch error {
      case .noSpace, .diskQuotaExceeded: throw .diskFull(path: image.partialPath, offset: offset)
      default: throw .writeFailed(path: image.partialPath, offset: offset, error)
      }
    }
  }

  private func read(at offset: UInt64, into buffer: inout PageBuffer, _ range: Range<Int>) throws(GuestMemoryError) {
    let whole: Bool
    do throws(Errno) {
      whole = try buffer.withMutableBytes(range) { (bytes) throws(Errno) in
        try FileBytes.read(image.file, at: offset, into: &bytes)
      }
    } catch {
      throw .readFailed(path: image.partialPath, offset: offset, error)
    }
    guard whole else { throw .changedWhileRead(path: image.partialPath) }
  }

  public var writtenByteCount: UInt64 { written.byteCount }

  public func prepareToComplete() throws(GuestMemoryError) {
    if options.synchronize { try image.synchronize() }
    guard options.writeMap else { return }
    let sidecar = try PartialFile(path: path + ".map.json", byteCount: 0)
    mapFile.withLock { $0 = sidecar }
    do { try sidecar.file.writeAll(try map.json()) } catch {
      throw .cannotFinish(path: sidecar.path, step: "write", (error as? Errno) ?? .ioError)
    }
    if options.synchronize { try sidecar.synchronize() }
  }

  public func complete() throws(GuestMemoryError) {
    // The map first: an image that has its name is complete.
    try mapFile.withLock { $0 }?.complete(replacing: true)
    try image.complete(replacing: options.replaceExisting)
    if options.synchronize { _ = unsafe hs_sync_directory(PartialFile.folder(of: path)) }
  }

  public func discard() {
    image.discard()
    mapFile.withLock { $0 }?.discard()
  }
}
