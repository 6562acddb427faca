// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Convergence
import FoundationEssentials
import Glibc
import PageFerry
import Synchronization
import SystemPackage

/// A dirty trace as a file: lines of JSON, the header first. docs/OPERATIONS.md has the format.
enum TraceFile {
  /// What a file may have, at most: whoever wrote it may mean no good.
  private static let byteMax = 64 << 20
  private static let lineMax = 64 << 10

  /// What is wrong with a file, with the line if it is one.
  struct Refusal: Error, CustomStringConvertible {
    let description: String
  }

  static func read(_ path: String) throws(Refusal) -> DirtyTrace {
    let bytes: [UInt8]
    do { bytes = try contents(path) } catch let error as Errno {
      throw Refusal(description: "\(path): \(error)")
    } catch { throw Refusal(description: "\(path): larger than \(byteMax >> 20) MiB") }
    return try parse(bytes, name: path)
  }

  private struct TooLarge: Error {}

  private static func contents(_ path: String) throws -> [UInt8] {
    let file = try FileDescriptor.open(FilePath(path), .readOnly)
    return try file.closeAfter {
      var bytes: [UInt8] = []
      var chunk = [UInt8](repeating: 0, count: 1 << 18)
      while true {
        let count = try unsafe chunk.withUnsafeMutableBytes { try unsafe file.read(into: $0) }
        if count == 0 { return bytes }
        bytes += chunk[0..<count]
        guard bytes.count <= byteMax else { throw TooLarge() }
      }
    }
  }

  static func parse(_ bytes: [UInt8], name: String) throws(Refusal) -> DirtyTrace {
    let decoder = JSONDecoder()
    var trace: DirtyTrace?
    var number = 0
    for line in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
      number += 1
      guard line.contains(where: { $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "\r") }) else { continue }
      do {
        guard line.count <= lineMax else { throw Refusal(description: "longer than \(lineMax) bytes") }
        let data = Data(line)
        if trace == nil {
          trace = try DirtyTrace(decoder.decode(DirtyTrace.Header.self, from: data))
        } else {
          try trace?.append(decoder.decode(DirtyTrace.Sample.self, from: data))
        }
      } catch {
        throw Refusal(description: "\(name), line \(number): \(sentence(error))")
      }
    }
    guard let trace else { throw Refusal(description: "\(name): empty") }
    guard trace.samples.contains(where: { !$0.windows.isEmpty }) else {
      throw Refusal(description: "\(name): no samples")
    }
    return trace
  }

  /// One sentence, whatever a decoder says.
  private static func sentence(_ error: any Error) -> String {
    switch error {
    case DecodingError.keyNotFound(let key, _): "'\(key.stringValue)' is missing"
    case DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context):
      "'\(context.codingPath.map { $0.stringValue }.joined(separator: "."))' is not what it should be"
    case DecodingError.dataCorrupted: "not JSON, or cut short"
    default: "\(error)"
    }
  }
}

/// Writes a trace line by line, so that what was recorded is there even if recording ends early.
final class TraceWriter: Sendable {
  private let file: FileDescriptor
  private let path: String
  private let failure = Mutex<Errno?>(nil)

  init(_ path: String, header: DirtyTrace.Header) throws(TraceFile.Refusal) {
    self.path = path
    do {
      file = try FileDescriptor.open(
        FilePath(path), .writeOnly, options: [.create, .truncate, .closeOnExec],
        permissions: [.ownerReadWrite, .groupRead, .otherRead])
    } catch { throw TraceFile.Refusal(description: "\(path): \(error)") }
    write(header)
    try check()
  }

  deinit { try? file.close() }

  /// - Returns: whether it could be written, as everything before it.
  @discardableResult func write(_ line: some Encodable) -> Bool {
    failure.withLock { failure in
      guard failure == nil else { return false }
      do { _ = try file.writeAll(Array((try ReportTable.line(line) + "\n").utf8)) } catch {
        failure = (error as? Errno) ?? .ioError
      }
      return failure == nil
    }
  }

  func check() throws(TraceFile.Refusal) {
    if let error = failure.withLock({ $0 }) { throw TraceFile.Refusal(description: "\(path): \(error)") }
  }

  /// Seconds since 1970.
  static var now: Double {
    var time = timespec()
    _ = unsafe clock_gettime(CLOCK_REALTIME, &time)
    return (Double(time.tv_sec) + Double(time.tv_nsec) / 1e9).rounded()
  }
}
