// SPDX-License-Identifier: Apache-2.0
import CHostSystem
import Glibc
import PageModel
import SystemPackage

/// Whole transfers between a file and memory: pread(2) and pwrite(2) until done.
enum FileBytes {
  /// Fills `bytes` from `offset`.
  /// - Returns: false if the file ends first.
  static func read(
    _ file: FileDescriptor, at offset: UInt64, into bytes: inout MutableRawSpan
  ) throws(Errno) -> Bool {
    var done = 0
    while done < bytes.byteCount {
      // SAFETY: the slice lies inside the span, which is exclusively ours.
      let got = unsafe bytes.withUnsafeMutableBytes { whole in
        attempt {
          unsafe try file.read(
            fromAbsoluteOffset: Int64(offset) + Int64(done), into: .init(rebasing: whole[done...]))
        }
      }
      switch got {
      case .success(0): return false
      case .success(let count): done += count
      case .failure(let errno): throw errno
      }
    }
    return true
  }

  /// Writes `bytes` at `offset`.
  static func write(_ file: FileDescriptor, at offset: UInt64, _ bytes: RawSpan) throws(Errno) {
    var done = 0
    while done < bytes.byteCount {
      // SAFETY: the slice lies inside the span.
      let put = unsafe bytes.withUnsafeBytes { whole in
        attempt {
          unsafe try file.write(
            toAbsoluteOffset: Int64(offset) + Int64(done), .init(rebasing: whole[done...]))
        }
      }
      done += try put.get()
    }
  }

  /// Pages of a block that a file has data for, where the block begins at `offset`; the others are holes, and zeros.
  static func presentPages(_ file: FileDescriptor, from offset: UInt64, of ram: RAMBlock) -> SpanMap {
    let present = SpanMap(block: ram)
    let start = Int64(offset)
    let end = start + Int64(ram.byteCount)
    var at = start
    while at < end {
      let data = hs_seek_data(file.rawValue, at)
      if data == -Int64(ENXIO) || data >= end { break }
      // A file system without holes: everything is data.
      guard data >= 0 else {
        present.insert(pages: 0..<ram.pageCount)
        break
      }
      let hole = hs_seek_hole(file.rawValue, data)
      let stop = hole > data ? min(hole, end) : end
      let page = Int64(PageGeometry.pageByteCount)
      present.insert(pages: Int((data - start) / page)..<Int((stop - start + page - 1) / page))
      at = stop
    }
    return present
  }

  private static func attempt(_ call: () throws -> Int) -> Result<Int, Errno> {
    do { return .success(try call()) } catch { return .failure((error as? Errno) ?? .ioError) }
  }

  /// A small file's content.
  static func read(path: String, limit: Int) throws(GuestMemoryError) -> [UInt8] {
    do {
      let file = try FileDescriptor.open(FilePath(path), .readOnly, options: [.closeOnExec])
      defer { try? file.close() }
      var content: [UInt8] = []
      var chunk = [UInt8](repeating: 0, count: 64 << 10)
      while content.count <= limit {
        let count = unsafe try chunk.withUnsafeMutableBytes { unsafe try file.read(into: $0) }
        if count == 0 { return content }
        content += chunk.prefix(count)
      }
    } catch let errno as Errno {
      throw .cannotOpen(path: path, errno)
    } catch {
      throw .cannotOpen(path: path, .ioError)
    }
    throw .badMap(path: path, reason: "it is larger than \(limit) bytes")
  }
}
