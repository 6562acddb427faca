// SPDX-License-Identifier: Apache-2.0
import PageModel
public import SystemPackage

/// What another process writes to its memory, by the kernel's soft-dirty bits: for a look at a VMM that knows nothing of
/// us, never for a migration.
///
/// Each window begins by clearing the bits of the whole process, which write-protects its pages: its next write to each
/// takes a microsecond more. Needs CONFIG_MEM_SOFT_DIRTY, and the rights of ptrace(2) on the process.
public struct SoftDirtyProcess: Sendable {
  /// Why a process cannot be watched.
  public struct Refusal: Error, Equatable, CustomStringConvertible {
    public let description: String
  }

  /// Stripes that are looked at in each mapping, at most.
  private static let stripeMax = 512
  private static let softDirty: UInt64 = 1 << 55
  /// Mappings from this size on count as guest memory; if there is none, the largest does.
  private static let regionByteCount: UInt64 = 64 << 20

  private let folder: String
  private let regions: [Range<UInt64>]

  /// Looks a process up.
  /// - Parameter root: where the kernel's `/proc` is: another place for tests.
  public init(pid: Int32, root: String = "/proc") throws(Refusal) {
    folder = "\(root)/\(pid)"
    let maps: String
    do throws(Errno) { maps = try Self.text(of: "\(folder)/maps") } catch {
      guard error != .noSuchFileOrDirectory, error != .noSuchProcess else {
        throw Refusal(description: "there is no process \(pid)")
      }
      throw Refusal(description: "process \(pid) cannot be looked into (\(error)): run as its user, or as root")
    }
    regions = Self.regions(of: maps)
    guard !regions.isEmpty else { throw Refusal(description: "process \(pid) has no memory that it could write") }
  }

  /// Whether this kernel has soft-dirty bits: a page that was just written has one.
  public static var isSupported: Bool {
    let page = [UInt8](repeating: 1, count: 2 * PageGeometry.pageByteCount)
    let address = unsafe page.withUnsafeBytes { UInt64(UInt(bitPattern: $0.baseAddress)) }
    guard let file = try? FileDescriptor.open(FilePath("/proc/self/pagemap"), .readOnly) else { return false }
    defer { try? file.close() }
    let entries = (try? read(file, from: address + UInt64(PageGeometry.pageByteCount), pageCount: 1)) ?? []
    return withExtendedLifetime(page) { (entries.first ?? 0) & softDirty != 0 }
  }

  /// Bytes of the mappings that count as guest memory.
  public var memoryByteCount: UInt64 { regions.reduce(0) { $0 + UInt64($1.count) } }

  /// Begins a window.
  public func clear() throws(Errno) {
    do {
      let file = try FileDescriptor.open(FilePath("\(folder)/clear_refs"), .writeOnly)
      try file.closeAfter { _ = try file.writeAll("4".utf8) }
    } catch { throw (error as? Errno) ?? .ioError }
  }

  /// Pages written since the last ``clear()``, and spans with such pages, scaled up from the stripes looked at.
  public func written() throws(Errno) -> (pages: Double, spans: Double) {
    do {
      let file = try FileDescriptor.open(FilePath("\(folder)/pagemap"), .readOnly)
      return try file.closeAfter {
        var (pages, spans) = (0.0, 0.0)
        for region in regions {
          let found = try Self.written(file, region)
          pages += found.pages
          spans += found.spans
        }
        return (pages, spans)
      }
    } catch { throw (error as? Errno) ?? .ioError }
  }

  private static func written(
    _ file: FileDescriptor, _ region: Range<UInt64>
  ) throws -> (pages: Double, spans: Double) {
    let stripe = UInt64(PageGeometry.stripeByteCount)
    let all = Int((UInt64(region.count) + stripe - 1) / stripe)
    let count = min(stripeMax, all)
    var (pages, spans) = (0, 0)
    for index in 0..<count {
      let start = region.lowerBound + UInt64(index * all / count) * stripe
      let byteCount = min(stripe, region.upperBound - start)
      let entries = try read(file, from: start, pageCount: Int(byteCount) / PageGeometry.pageByteCount)
      for first in stride(from: 0, to: entries.count, by: PageGeometry.pagesPerSpan) {
        let end = min(first + PageGeometry.pagesPerSpan, entries.count)
        let dirty = entries[first..<end].reduce(0) { $0 + ($1 & softDirty == 0 ? 0 : 1) }
        pages += dirty
        spans += dirty > 0 ? 1 : 0
      }
    }
    let scale = Double(all) / Double(count)
    return (Double(pages) * scale, Double(spans) * scale)
  }

  /// Entries of a page table.
  private static func read(_ file: FileDescriptor, from address: UInt64, pageCount: Int) throws -> [UInt64] {
    var entries = [UInt64](repeating: 0, count: pageCount)
    let offset = Int64(address / UInt64(PageGeometry.pageByteCount)) * 8
    let byteCount = try unsafe entries.withUnsafeMutableBytes {
      try unsafe file.read(fromAbsoluteOffset: offset, into: $0)
    }
    return Array(entries.prefix(byteCount / 8))
  }

  /// Writable mappings that are large, or the largest.
  static func regions(of maps: String) -> [Range<UInt64>] {
    var all: [Range<UInt64>] = []
    for line in maps.split(separator: "\n") {
      let fields = line.split(separator: " ", maxSplits: 2)
      guard fields.count >= 2, fields[1].dropFirst().first == "w" else { continue }
      let ends = fields[0].split(separator: "-")
      guard ends.count == 2, let start = UInt64(ends[0], radix: 16), let end = UInt64(ends[1], radix: 16),
        start < end, end < 1 << 56
      else { continue }
      all.append(start..<end)
    }
    let large = all.filter { $0.count >= regionByteCount }
    return large.isEmpty ? all.max { $0.count < $1.count }.map { [$0] } ?? [] : large
  }

  private static func text(of path: String) throws(Errno) -> String {
    do {
      let file = try FileDescriptor.open(FilePath(path), .readOnly)
      return try file.closeAfter {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        // A process may have as many mappings as it likes: 16 MiB of text are some 200 000.
        while bytes.count < 16 << 20 {
          let count = try unsafe chunk.withUnsafeMutableBytes { try unsafe file.read(into: $0) }
          if count == 0 { break }
          bytes += chunk[0..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
      }
    } catch { throw (error as? Errno) ?? .ioError }
  }
}
